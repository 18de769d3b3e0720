//! storport
