//! vioscsi
