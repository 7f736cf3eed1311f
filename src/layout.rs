//! Alignment, padding, packing.
