//! What the fault says, of few hosts and of very many.

use updraft_runtime::store::limits::VALUE_MAX_BYTES;

use super::*;
use crate::fixture::server;

/// Most hosts that a scheduler looks at.
const HOSTS: usize = 10_000;

fn refusal(host: &str, filter: &'static str, reason: &str) -> Refusal {
    Refusal { host: host.to_owned(), filter, reason: reason.to_owned() }
}

fn fault(refusals: &[Refusal]) -> FaultRow {
    no_valid_host(&server(), refusals, UnixMicros(7))
}

#[test]
fn without_a_host_it_says_so() {
    assert_eq!(fault(&[]).message, "No valid host was found. there is no compute host");
}

#[test]
fn every_host_is_told_with_the_filter_that_refused_it_and_its_figures() {
    let said = fault(&[
        refusal("c-1", "RamFilter", "needs 4096 MiB, 512 free"),
        refusal("c-2", "ComputeFilter", "the host is disabled: dust"),
        refusal("c-3", "RamFilter", "needs 4096 MiB, 512 free"),
    ]);
    assert_eq!(
        said.message,
        "No valid host was found. RamFilter: needs 4096 MiB, 512 free (2 hosts: c-1, c-3); \
         ComputeFilter: the host is disabled: dust (1 host: c-2)"
    );
    assert_eq!(
        said.details,
        format!(
            "server {} was refused by every host:\n\
             c-1: RamFilter: needs 4096 MiB, 512 free\n\
             c-2: ComputeFilter: the host is disabled: dust\n\
             c-3: RamFilter: needs 4096 MiB, 512 free",
            server().id
        )
    );
}

#[test]
fn of_many_hosts_with_the_same_reason_the_first_are_named_and_all_are_counted() {
    let refusals: Vec<_> =
        (0..12).map(|n| refusal(&format!("c-{n}"), "RamFilter", "too little")).collect();
    assert_eq!(
        fault(&refusals).message,
        "No valid host was found. RamFilter: too little (12 hosts: c-0, c-1, c-2, ...)"
    );
}

#[test]
fn ten_thousand_hosts_with_long_names_and_reasons_of_their_own_fit_into_a_row() {
    let refusals: Vec<_> = (0..HOSTS)
        .map(|n| {
            let (name, reason) = (format!("{n:0>253}"), format!("{n} {}", "\u{7}".repeat(5_000)));
            refusal(&name, "ComputeFilter", &reason)
        })
        .collect();
    let said = fault(&refusals);
    assert!(said.message.ends_with("; other reasons (9992 hosts)"), "{}", said.message.len());
    assert!(said.details.ends_with("\n(9800 hosts more left out)"), "{}", said.details.len());
    let mut row = server();
    row.fault = Some(said);
    let bytes = serde_json::to_vec(&row).unwrap().len();
    assert!(bytes < VALUE_MAX_BYTES, "the row takes {bytes} bytes");
}
