//! Writes invoices. Its code stands here in a real project.
