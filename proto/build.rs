//! Compiles `identity/v1/*.proto` with protox, a protobuf compiler in Rust: no `protoc` needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=identity");
    let mut files = Vec::new();
    for entry in fs::read_dir("identity/v1")? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, ["."])?;
    // The reflection service serves this same set.
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("identity_v1.bin"),
        descriptors.encode_to_vec(),
    )?;
    let profile = "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default)]";
    let mut config = tonic_prost_build::configure();
    // identity keeps a member's profile as JSON under the field names of the contract.
    for message in [
        "MemberProfile",
        "PersonName",
        "LabelledValue",
        "PostalAddress",
        "Enterprise",
        "Manager",
        "Removed",
    ] {
        config = config.message_attribute(format!("identity.v1.{message}"), profile);
    }
    config.compile_fds(descriptors)?;
    Ok(())
}
