//! A list in pieces: growing it moves at most one piece.
//!
//! The lists of a table's segments grow to megabytes, and moving those at once would make rare
//! inserts expensive. The first piece grows like a vector, so that small tables have small lists.

use crate::size::class_size;

/// Number of items in a piece.
const PIECE: usize = 512;

pub(crate) struct Chunked<T> {
    /// All pieces but the last are full, and the last is not empty.
    pieces: Vec<Vec<T>>,
    len: usize,
}

impl<T: Copy> Chunked<T> {
    pub(crate) const fn new() -> Chunked<T> {
        Chunked { pieces: Vec::new(), len: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns its memory in bytes, by size class.
    pub(crate) fn bytes(&self) -> usize {
        let Some(first) = self.pieces.first() else { return 0 };
        class_size(self.pieces.capacity() * size_of::<Vec<T>>())
            + class_size(first.capacity() * size_of::<T>())
            + (self.pieces.len() - 1) * class_size(PIECE * size_of::<T>())
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> T {
        self.pieces[index / PIECE][index % PIECE]
    }

    #[inline]
    pub(crate) fn set(&mut self, index: usize, item: T) {
        self.pieces[index / PIECE][index % PIECE] = item;
    }

    pub(crate) fn push(&mut self, item: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(item),
            _ => {
                let room = if self.pieces.is_empty() { 1 } else { PIECE };
                let mut piece = Vec::with_capacity(room);
                piece.push(item);
                self.pieces.reserve_exact(1 + self.pieces.len() / 8);
                self.pieces.push(piece);
            }
        }
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.pieces.last_mut()?;
        let item = last.pop();
        if last.is_empty() {
            self.pieces.pop();
        }
        self.len -= 1;
        if self.len == 0 {
            self.clear();
        }
        item
    }

    pub(crate) fn clear(&mut self) {
        *self = Chunked::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_what_a_vector_does() {
        let (mut list, mut model) = (Chunked::new(), Vec::new());
        for number in 0..5 * PIECE {
            list.push(number);
            model.push(number);
            if number % 3 == 0 {
                list.set(number / 2, 7);
                model[number / 2] = 7;
            }
        }
        assert!(list.bytes() >= 5 * PIECE * size_of::<usize>());
        assert!(list.bytes() <= 6 * PIECE * size_of::<usize>());
        while !model.is_empty() {
            assert_eq!(list.len(), model.len());
            assert_eq!(list.get(model.len() / 3), model[model.len() / 3]);
            assert_eq!(list.pop(), model.pop());
        }
        assert_eq!((list.pop(), list.bytes()), (None, 0));
    }
}
