//! The few calls that the safe crate does not have: events, and unplugging by name.
//!
//! The only module with `unsafe`. Promises that a subscription's callbacks touch nothing but the
//! [`Sink`] that they own, and that libvirt alone frees it, after the last callback.
#![allow(unsafe_code, reason = "libvirt's events are reached through C alone")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    mem, ptr,
};

use tokio::sync::{broadcast, watch};
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain, error::Error, sys};

use crate::events::Happening;

/// Where callbacks leave what they heard.
#[derive(Clone)]
pub(crate) struct Sink {
    /// What happened to guests.
    pub(crate) happenings: broadcast::Sender<Happening>,
    /// Why the connection closed, once it has.
    pub(crate) closed: watch::Sender<Option<&'static str>>,
}

/// Callbacks registered on one connection.
pub(crate) struct Subscription {
    event_ids: Vec<c_int>,
}

type DomainCallback = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);

/// Registers for what happens to guests, and for the end of the connection.
pub(crate) fn subscribe(connect: &Connect, sink: &Sink) -> Result<Subscription, Error> {
    let mut subscription = Subscription { event_ids: Vec::new() };
    let result = register_all(connect, sink, &mut subscription.event_ids);
    if let Err(error) = result {
        subscription.cancel(connect);
        return Err(error);
    }
    Ok(subscription)
}

impl Subscription {
    /// Ends it. On a connection that is gone the remote end cannot be told, and need not be.
    pub(crate) fn cancel(&mut self, connect: &Connect) {
        for id in self.event_ids.drain(..) {
            // SAFETY: the connection is alive as long as `connect`, and the id came from it.
            unsafe { sys::virConnectDomainEventDeregisterAny(connect.as_ptr(), id) };
        }
        // SAFETY: as above; without a registered callback the call does nothing but say so.
        unsafe { sys::virConnectUnregisterCloseCallback(connect.as_ptr(), Some(on_close)) };
    }
}

/// Asks a guest to let go of a device. For a running guest that is a request, not its fulfilment.
pub(crate) fn detach_device_alias(domain: &Domain, alias: &str, flags: u32) -> Result<(), Error> {
    let alias = CString::new(alias).unwrap_or_default();
    // SAFETY: the domain is alive as long as `domain`; libvirt copies the name.
    let result = unsafe { sys::virDomainDetachDeviceAlias(domain.as_ptr(), alias.as_ptr(), flags) };
    if result == 0 { Ok(()) } else { Err(Error::last_error()) }
}

fn register_all(connect: &Connect, sink: &Sink, ids: &mut Vec<c_int>) -> Result<(), Error> {
    // SAFETY: libvirt calls a callback with the arguments of its event's own type. `on_lifecycle`
    // and `on_device_removed` have the types that the documentation gives for these two events;
    // the cast only forgets them, as libvirt's own macro VIR_DOMAIN_EVENT_CALLBACK does.
    let (lifecycle, device_removed) = unsafe {
        (
            mem::transmute::<*const (), DomainCallback>(on_lifecycle as *const ()),
            mem::transmute::<*const (), DomainCallback>(on_device_removed as *const ()),
        )
    };
    let wanted = [
        (sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle),
        (sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot as DomainCallback),
        (sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, device_removed),
    ];
    for (event, callback) in wanted {
        ids.push(register(connect, sink, event, callback)?);
    }
    let opaque = Box::into_raw(Box::new(sink.clone())).cast();
    // SAFETY: `opaque` is a leaked `Sink`, which `free_sink` alone takes back.
    let result = unsafe {
        sys::virConnectRegisterCloseCallback(
            connect.as_ptr(),
            Some(on_close),
            opaque,
            Some(free_sink),
        )
    };
    kept_or_freed(result, opaque).map(drop)
}

fn register(
    connect: &Connect,
    sink: &Sink,
    event: sys::virDomainEventID,
    callback: DomainCallback,
) -> Result<c_int, Error> {
    let opaque = Box::into_raw(Box::new(sink.clone())).cast();
    // SAFETY: `opaque` is a leaked `Sink`, which `free_sink` alone takes back; no domain is named,
    // so the callback hears of all; the callback's type is the event's (see `register_all`).
    let result = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connect.as_ptr(),
            ptr::null_mut(),
            c_int::try_from(event).unwrap_or(c_int::MAX),
            Some(callback),
            opaque,
            Some(free_sink),
        )
    };
    kept_or_freed(result, opaque)
}

/// libvirt frees what it accepted; what it refused is still ours.
fn kept_or_freed(result: c_int, opaque: *mut c_void) -> Result<c_int, Error> {
    if result >= 0 {
        return Ok(result);
    }
    let error = Error::last_error();
    // SAFETY: the registration failed, so libvirt kept no copy of the pointer.
    unsafe { free_sink(opaque) };
    Err(error)
}

unsafe extern "C" fn free_sink(opaque: *mut c_void) {
    // SAFETY: every `opaque` is a `Sink` leaked above, and this runs once for each.
    drop(unsafe { Box::from_raw(opaque.cast::<Sink>()) });
}

/// The sink behind a callback's pointer, and the guest that it is about.
///
/// # Safety
/// To be called in a callback only, with that callback's own pointers.
unsafe fn heard<'a>(domain: sys::virDomainPtr, opaque: *mut c_void) -> Option<(&'a Sink, Uuid)> {
    let mut id = [0_u8; 16];
    // SAFETY: libvirt lends the domain for the length of the callback; an id has 16 bytes.
    let known = unsafe { sys::virDomainGetUUID(domain, id.as_mut_ptr()) } == 0;
    // SAFETY: `opaque` is a `Sink` that lives until `free_sink`, which runs after all callbacks.
    let sink = unsafe { opaque.cast::<Sink>().as_ref() }?;
    known.then(|| (sink, Uuid::from_bytes(id)))
}

fn tell(sink: &Sink, happening: Happening) {
    // Nobody listening is no failure: every listener also looks by itself.
    sink.happenings.send(happening).ok();
}

unsafe extern "C" fn on_lifecycle(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: these are this callback's own pointers.
    if let Some((sink, guest)) = unsafe { heard(domain, opaque) } {
        tell(sink, Happening::Changed { guest });
    }
    0
}

unsafe extern "C" fn on_reboot(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    opaque: *mut c_void,
) {
    // SAFETY: these are this callback's own pointers.
    if let Some((sink, guest)) = unsafe { heard(domain, opaque) } {
        tell(sink, Happening::Rebooted { guest });
    }
}

unsafe extern "C" fn on_device_removed(
    _connect: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    alias: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: these are this callback's own pointers; the name is a string lent for its length.
    if let Some((sink, guest)) = unsafe { heard(domain, opaque) } {
        // SAFETY: as above.
        let alias = unsafe { CStr::from_ptr(alias) }.to_string_lossy().into_owned();
        tell(sink, Happening::DeviceRemoved { guest, alias });
    }
}

unsafe extern "C" fn on_close(_connect: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    // SAFETY: `opaque` is a `Sink` that lives until `free_sink`, which runs after all callbacks.
    let Some(sink) = (unsafe { opaque.cast::<Sink>().as_ref() }) else { return };
    let words = match u32::try_from(reason) {
        Ok(sys::VIR_CONNECT_CLOSE_REASON_EOF) => "libvirtd closed the connection",
        Ok(sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE) => "libvirtd does not answer any more",
        Ok(sys::VIR_CONNECT_CLOSE_REASON_CLIENT) => "the connection was closed here",
        _ => "the connection to libvirtd failed",
    };
    sink.closed.send_replace(Some(words));
}
