#!/usr/bin/env bash
# Builds a small bootable guest from Debian packages; nothing else is downloaded.
#
#   guest-image.sh OUT_DIR
#
# OUT_DIR/vmlinuz and OUT_DIR/initrd.gz boot by kernel and ramdisk, OUT_DIR/disk.qcow2 boots by its
# own boot loader. The guest says on its serial console, in lines that begin with UPDRAFT-, what it
# sees: its address, what the metadata service told it, its disks as they come and go.
#
# Needs no root, no loop device and no mount. May be repeated: it ends at once when OUT_DIR holds what
# these scripts make.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
disk_mib=64             # kernel and ramdisk take 17; the rest is room for the guest's user
first_sector=2048       # where the only partition begins: 1 MiB, the boot loader lies before it
sector_bytes=512
kernel_options='console=ttyS0 quiet' # the console is the serial line, and markers are not drowned
drivers=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover
    net_failover virtio_net virtio-rng button evdev cdrom isofs)

die() { printf 'guest-image: %s\n' "$*" >&2; exit 1; }

[ $# -eq 1 ] || die 'usage: guest-image.sh OUT_DIR'
for tool in apt-get apt-cache dpkg-deb busybox qemu-img mkfs.ext4 gzip sha256sum; do
    command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
        die "$tool is missing; scripts/host-packages.sh installs it"
done
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$1"
out=$(cd "$1" && pwd)

# What OUT_DIR was made from: every file that goes in. A newer kernel package alone is no reason to
# build anew, so a machine without a network keeps what it has.
recipe=$(cd "$here" && find guest guest-image.sh -type f -exec sha256sum {} + | sort -k 2 |
    sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$out/recipe" 2>/dev/null)" = "$recipe" ] &&
    [ -s "$out/vmlinuz" ] && [ -s "$out/initrd.gz" ] && [ -s "$out/disk.qcow2" ]; then
    exit 0
fi
rm -f "$out/recipe"

kernel_package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$kernel_package" ] ||
    die 'apt knows no package linux-image-cloud-amd64; run apt-get update, or add the Debian main archive'
packages=("$kernel_package" busybox-static grub-pc-bin grub-common)

work=$(mktemp -d "$out/.making.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

unpack_packages() {
    mkdir "$work/debs"
    chmod 777 "$work/debs" # apt downloads as a user of its own
    (cd "$work/debs" && apt-get -q download "${packages[@]}" >"$work/log" 2>&1) || {
        cat "$work/log" >&2
        die 'apt-get download failed; run apt-get update and look at the network'
    }
    local deb
    for deb in "$work"/debs/*.deb; do dpkg-deb --extract "$deb" "$work/unpacked"; done
}

make_tree() {
    local tree=$work/tree driver file
    mkdir -p "$tree"/{bin,dev,lib/drivers,proc,root,run,sys,tmp}
    cp "$work/unpacked/bin/busybox" "$tree/bin/busybox"
    local applet
    for applet in $("$tree/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
    done
    cp -r "$here/guest/etc" "$tree/etc"
    cp "$here/guest/init" "$tree/init"
    for driver in "${drivers[@]}"; do
        file=$(find "$work/unpacked/lib/modules" -name "$driver.ko" -print -quit)
        [ -n "$file" ] || die "the kernel package has no driver $driver"
        cp "$file" "$tree/lib/drivers/"
    done
}

make_ramdisk() {
    # busybox cpio, because a bare Debian has no other; --owner, because a user may build this.
    (cd "$work/tree" && find . | sort | busybox cpio -o -H newc -R 0:0 2>/dev/null) |
        gzip -9n >"$work/initrd.gz"
}

make_boot_loader() {
    local grub=$work/unpacked/usr
    cat >"$work/grub.cfg" <<CFG
serial --unit=0 --speed=115200
terminal_output serial
linux (hd0,msdos1)/boot/vmlinuz $kernel_options updraft.root=/dev/vda1
initrd (hd0,msdos1)/boot/initrd.gz
boot
CFG
    "$grub/bin/grub-mkimage" -d "$grub/lib/grub/i386-pc" -O i386-pc -p '(hd0,msdos1)/boot/grub' \
        -c "$work/grub.cfg" -o "$work/core.img" biosdisk part_msdos ext2 linux serial terminal boot ||
        die 'grub-mkimage failed; it needs the libraries that scripts/host-packages.sh installs'
    [ "$(stat -c %s "$work/core.img")" -le $(((first_sector - 1) * sector_bytes)) ] ||
        die 'the boot loader is larger than the gap before the partition'
}

# A little-endian 32-bit number as bytes.
le32() {
    local shift
    for shift in 0 8 16 24; do printf "\\x$(printf %02x $((($1 >> shift) & 255)))"; done
}

partition_table() {
    printf '\x80\x20\x21\x00\x83\xfe\xff\xff' # active, begins at cylinder 0 head 32, Linux, CHS end unused
    le32 "$first_sector"
    le32 $((disk_mib * 1024 * 1024 / sector_bytes - first_sector))
    head -c 48 /dev/zero # three empty entries
    printf '\x55\xaa'
}

make_disk() {
    local disk=$work/disk.raw tree=$work/tree
    mkdir -p "$tree/boot"
    cp "$work/vmlinuz" "$work/initrd.gz" "$tree/boot/"
    truncate -s "${disk_mib}M" "$disk"
    # GRUB's reader knows neither of the two features that are switched off.
    mkfs.ext4 -q -F -O ^64bit,^metadata_csum -L root -E "offset=$((first_sector * sector_bytes)),root_owner=0:0" \
        -d "$tree" "$disk" "$(((disk_mib - 1) * 1024))k" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; die 'mkfs.ext4 failed'; }
    dd if="$work/unpacked/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
    partition_table | dd of="$disk" bs=1 seek=446 conv=notrunc status=none
    dd if="$work/core.img" of="$disk" bs="$sector_bytes" seek=1 conv=notrunc status=none
    qemu-img convert -O qcow2 -c "$disk" "$work/disk.qcow2"
}

unpack_packages
make_tree
cp "$work"/unpacked/boot/vmlinuz-* "$work/vmlinuz"
chmod 644 "$work/vmlinuz"
make_ramdisk
make_boot_loader
make_disk
mv -f "$work/vmlinuz" "$work/initrd.gz" "$work/disk.qcow2" "$out/"
echo "$recipe" >"$out/recipe"
