#![doc = include_str!("../README.md")]

/// Package `identity.v1`: messages, and a client and a server module for each service.
#[allow(
    missing_docs,
    clippy::all,
    reason = "generated from the .proto files, which document it"
)]
pub mod v1 {
    tonic::include_proto!("identity.v1");
}

/// The encoded `FileDescriptorSet` of the contract, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/identity_v1.bin"));

/// The `domain` of every `google.rpc.ErrorInfo` that identity sends.
pub const ERROR_DOMAIN: &str = "identity.roster";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod reference;
