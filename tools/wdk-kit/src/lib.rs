//! wdk-kit
