#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = updraft_hostile::bodies::body(bytes);
});
