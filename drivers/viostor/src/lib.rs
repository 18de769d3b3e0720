//! viostor
