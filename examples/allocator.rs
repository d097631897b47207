//! The allocator of the example programs. A program links it with `use allocator as _;`.

/// Training allocates and frees the same big tensors in every step.
#[global_allocator]
static ALLOCATOR: oncograph_alloc::Recycling = oncograph_alloc::Recycling::new();
