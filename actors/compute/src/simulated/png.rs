//! A picture as PNG (RFC 2083), not made smaller: what a simulated screen shows is tiny.

/// What every file begins with.
const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// Eight bits for each of red, green and blue; deflate, the only filter method, not interlaced.
const FORMAT: [u8; 5] = [8, 2, 0, 0, 0];
/// The head of a zlib stream (RFC 1950) with no promise of compression.
const ZLIB: [u8; 2] = [0x78, 0x01];
/// Longest block of deflate that is stored as it is.
const STORED_MAX_BYTES: usize = 0xffff;
/// Bytes of a pixel.
const PIXEL_BYTES: usize = 3;

/// The picture with these pixels, row after row.
pub(super) fn encode(width: u16, height: u16, pixels: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(u32::from(width).to_be_bytes());
    header.extend(u32::from(height).to_be_bytes());
    header.extend(FORMAT);
    // Each row is preceded by its filter: none.
    let rows = pixels.chunks(usize::from(width) * PIXEL_BYTES);
    let raw: Vec<u8> = rows.flat_map(|row| [&[0][..], row].concat()).collect();
    let mut file = SIGNATURE.to_vec();
    for (kind, content) in [(b"IHDR", header), (b"IDAT", stored(&raw)), (b"IEND", Vec::new())] {
        file.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        let checked = [kind, content.as_slice()].concat();
        file.extend(&checked);
        file.extend(crc(&checked).to_be_bytes());
    }
    file
}

/// The bytes as a zlib stream that stores them.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stream = ZLIB.to_vec();
    let blocks = bytes.len().div_ceil(STORED_MAX_BYTES);
    for (number, block) in bytes.chunks(STORED_MAX_BYTES).enumerate() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(number + 1 == blocks));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler(bytes).to_be_bytes());
    stream
}

/// Adler-32.
fn adler(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

/// CRC-32.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_picture_of_one_pixel_is_what_others_make_of_it() {
        let file = encode(1, 1, &[255, 0, 0]);
        assert_eq!(&file[..8], SIGNATURE);
        assert_eq!(&file[16..24], [0, 0, 0, 1, 0, 0, 0, 1]);
        let data = [0x78, 1, 1, 4, 0, 0xfb, 0xff, 0, 255, 0, 0, 3, 1, 1, 0];
        assert_eq!(&file[41..41 + data.len()], data);
        assert!(file.ends_with(&[b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82]));
    }
}
