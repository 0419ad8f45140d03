//! The probe guest's whole software: a boot sector.
//!
//! It enters 64-bit mode with paging, as kernels do, counts down from fifty million, and then writes
//! [`SAYS`] to the first serial line. A processor needs 20 ms for it and a translator half a second; a
//! hypervisor that carries out one instruction after the other in software needs minutes.

/// What the guest writes when its work is done.
pub(crate) const SAYS: &[u8] = b"UPDRAFT-NATIVE\n";

/// Smallest disk that the BIOS boots from; of one sector it says that it cannot be read.
const DISK_BYTES: usize = 1024 * 1024;

/// Where the BIOS looks for the mark that a disk can be booted from.
const MARK_AT: usize = 510;

/// The disk that it boots from.
pub(crate) fn disk() -> Vec<u8> {
    let mut disk = [PROGRAM, TABLES, SAYS].concat();
    disk.resize(DISK_BYTES, 0);
    disk[MARK_AT..MARK_AT + 2].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// Machine code for address 0x7c00.
#[rustfmt::skip]
const PROGRAM: &[u8] = &[
    0xfa, // cli
    0x31, 0xc0, // xor ax,ax
    0x8e, 0xd8, // mov ds,ax
    0x8e, 0xc0, // mov es,ax
    0x8e, 0xd0, // mov ss,ax
    0xbc, 0x00, 0x7c, // mov sp,0x7c00
    0xfc, // cld
    0x66, 0xbf, 0x00, 0x10, 0x00, 0x00, // mov edi,0x1000
    0x0f, 0x22, 0xdf, // mov cr3,edi
    0x66, 0x31, 0xc0, // xor eax,eax
    0x66, 0xb9, 0x00, 0x0c, 0x00, 0x00, // mov ecx,0xc00
    0x66, 0xf3, 0xab, // rep stosd: three empty pages of tables
    0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, // mov word [0x1000], 0x2003: level 4 -> level 3
    0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, // mov word [0x2000], 0x3003: level 3 -> level 2
    0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, // mov word [0x3000], 0x83: the first 2 MiB as they are
    0x0f, 0x20, 0xe0, // mov eax,cr4
    0x0c, 0x20, // or al, 0x20: physical address extension
    0x0f, 0x22, 0xe0, // mov cr4,eax
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, // mov ecx, 0xc0000080: EFER
    0x0f, 0x32, // rdmsr
    0x80, 0xcc, 0x01, // or ah, 1: long mode
    0x0f, 0x30, // wrmsr
    0x0f, 0x01, 0x16, 0xa8, 0x7c, // lgdt [0x7ca8]
    0x0f, 0x20, 0xc0, // mov eax,cr0
    0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, // or eax, 0x80000001: protection and paging
    0x0f, 0x22, 0xc0, // mov cr0,eax
    0xea, 0x5f, 0x7c, 0x08, 0x00, // jmp 8:0x7c5f: from here on 64-bit
    0xb9, 0x80, 0xf0, 0xfa, 0x02, // mov ecx, 50,000,000: the work
    0xff, 0xc9, // dec ecx
    0x75, 0xfc, // jne 0x7c64
    0xbf, 0x00, 0x05, 0x00, 0x00, // mov edi,0x500
    0xf0, 0x48, 0x0f, 0xc7, 0x0f, // lock cmpxchg16b [rdi]: which emulating KVMs stumble over
    0xbe, 0xae, 0x7c, 0x00, 0x00, // mov esi, 0x7cae: the text
    0xac, // lodsb
    0x84, 0xc0, // test al,al
    0x74, 0x14, // je 0x7c90
    0x88, 0xc4, // mov ah,al
    0x66, 0xba, 0xfd, 0x03, // mov dx,0x3fd
    0xec, // in al,dx
    0xa8, 0x20, // test al, 0x20: until the serial line takes a byte
    0x74, 0xfb, // je 0x7c82
    0x66, 0xba, 0xf8, 0x03, // mov dx,0x3f8
    0x88, 0xe0, // mov al,ah
    0xee, // out dx,al
    0xeb, 0xe7, // jmp 0x7c77
    0xf4, // hlt
    0xeb, 0xfd, // jmp 0x7c90
];

/// From address 0x7c93: padding, the segment table at 0x7c98, its description at 0x7ca8.
#[rustfmt::skip]
const TABLES: &[u8] = &[
    0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0x9a, 0x20, 0, // 64-bit code
    15, 0, 0x98, 0x7c, 0, 0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_finds_its_tables_and_its_text_where_it_looks() {
        const LOADED_AT: usize = 0x7c00;
        assert_eq!(LOADED_AT + PROGRAM.len(), 0x7c93);
        assert_eq!(LOADED_AT + PROGRAM.len() + TABLES.len(), 0x7cae);
        let disk = disk();
        assert!(disk[0xae..].starts_with(SAYS) && disk[0xae + SAYS.len()] == 0);
    }

    #[test]
    fn the_disk_is_marked_as_bootable() {
        assert_eq!(disk()[MARK_AT..=MARK_AT + 1], [0x55, 0xaa]);
    }

    /// The figure that tells a processor or a translator from a hypervisor that steps.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a real emulator takes real time")]
    fn a_translator_is_done_in_a_fraction_of_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let (image, console) = (folder.path().join("disk.raw"), folder.path().join("console"));
        std::fs::write(&image, disk()).unwrap();
        let drive = format!("file={},format=raw,if=virtio,readonly=on", image.display());
        let serial = format!("file:{}", console.display());
        let emulator = std::process::Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-m", "32", "-display", "none", "-nodefaults"])
            .args(["-serial", &serial, "-drive", &drive])
            .spawn();
        let Ok(mut emulator) = emulator else {
            println!("skipped: qemu-system-x86_64 is not installed");
            return;
        };
        let begun = std::time::Instant::now();
        let said = || std::fs::read(&console).unwrap_or_default();
        while said() != SAYS && begun.elapsed().as_secs() < 9 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        emulator.kill().unwrap();
        emulator.wait().unwrap();
        assert_eq!(said(), SAYS);
    }
}
