//! What will happen, in order of time; what falls on the same microsecond, in order of arrival.
//!
//! The heap has keys only, which are small: events stay where they are until they happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events with the virtual microsecond at which each is due.
#[derive(Debug)]
pub struct Queue<E> {
    /// Times, serial numbers and places.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    serial: u64,
    events: Vec<Option<E>>,
    /// Places without an event.
    free: Vec<usize>,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue { heap: BinaryHeap::new(), serial: 0, events: Vec::new(), free: Vec::new() }
    }
}

impl<E> Queue<E> {
    /// Adds an event.
    pub fn push(&mut self, at_us: u64, event: E) {
        self.serial += 1;
        let place = self.free.pop().unwrap_or(self.events.len());
        match self.events.get_mut(place) {
            Some(free) => *free = Some(event),
            None => self.events.push(Some(event)),
        }
        self.heap.push(Reverse((at_us, self.serial, place)));
    }

    /// Returns when the next event is due.
    pub fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_us, ..))| *at_us)
    }

    /// Takes the next event and its time.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at_us, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.events[place].take().map(|event| (at_us, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_first_then_order_of_arrival() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (5, 'e')] {
            queue.push(at, event);
        }
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, "abcde");
    }
}
