//! Configures the image's build against the WDK, as the drivers' images do.

fn main() -> Result<(), wdk_build::ConfigError> {
    // wdk-sys links what every kernel driver needs; this one is ours to ask for.
    println!("cargo::rustc-link-lib=dylib=storport");
    // The image's checksum; boot-start drivers must have one. Where the image is linked from a static library, whoever
    // links it sees to that.
    if cfg!(windows) {
        println!("cargo::rustc-cdylib-link-arg=/RELEASE");
        println!("cargo::rustc-cdylib-link-arg=/BREPRO");
    }
    wdk_build::configure_wdk_binary_build()
}
