//! The size of allocations, including rounding by the allocator.
//!
//! Assumes an allocator with 8-byte classes up to 64 bytes and four classes per doubling above
//! (jemalloc with a quantum of 8): 8, 16, … 64, 80, 96, 112, 128, 160, 192, 224, 256, 320 and so
//! on. With other allocators the sizes are estimates, without other consequences.

/// Returns the size class for a request of `size` bytes (8 for an empty one).
///
/// Saturates near the top of the address space, where allocations fail anyway.
#[inline]
#[must_use]
pub const fn class_size(size: usize) -> usize {
    if size <= 64 {
        if size == 0 { 8 } else { (size + 7) & !7 }
    } else {
        let step = 1usize << ((size - 1).ilog2() - 2);
        match size.checked_add(step - 1) {
            Some(sum) => sum & !(step - 1),
            None => usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::class_size;

    #[test]
    fn classes_follow_the_allocator() {
        let expected = [
            (0, 8),
            (1, 8),
            (8, 8),
            (9, 16),
            (38, 40),
            (40, 40),
            (57, 64),
            (64, 64),
            (65, 80),
            (81, 96),
            (112, 112),
            (113, 128),
            (128, 128),
            (129, 160),
            (256, 256),
            (257, 320),
            (2049, 2560),
            (3072, 3072),
            (3073, 3584),
            (4096, 4096),
            (4097, 5120),
            (16385, 20480),
        ];
        for (size, class) in expected {
            assert_eq!(class_size(size), class, "size {size}");
        }
    }

    #[test]
    fn a_class_is_its_own_class() {
        for size in 0..100_000 {
            let class = class_size(size);
            assert!(class >= size && class_size(class) == class);
        }
        assert_eq!(class_size(usize::MAX), usize::MAX);
    }
}
