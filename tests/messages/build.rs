//! Makes the client and the server of the gRPC service, without a compiler of protocol files.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let echo = Method::builder()
        .name("echo")
        .route_name("Echo")
        .input_type("crate::peers::grpc::Body")
        .output_type("crate::peers::grpc::Body")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let service = Service::builder().name("Echo").package("bench").method(echo).build();
    Builder::new().compile(&[service]);
}
