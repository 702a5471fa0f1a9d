//! Takes orders. Its code stands here in a real project.
