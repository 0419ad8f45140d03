//! That every setting is described, and what a file that is wrong gets told.

use serde::{
    Deserializer,
    de::{Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

use updraft_compute::scheduler::DriverKind;

use super::*;

fn read(text: &str) -> Result<Settings, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Settings::read(file.path())
}

fn error_of(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// Learns the names of a struct's fields from the struct itself.
struct FieldsOf(Vec<&'static str>);

impl<'de> Deserializer<'de> for &mut FieldsOf {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0 = fields.to_vec();
        Err(Error::custom("the names are all that is wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields() -> Vec<&'static str> {
    let mut fields = FieldsOf(Vec::new());
    let _ = Settings::deserialize(&mut fields);
    assert!(!fields.0.is_empty());
    fields.0
}

#[test]
fn every_setting_is_described() {
    let described: Vec<_> = DESCRIBED.iter().map(|described| described.key).collect();
    assert_eq!(described, fields());
}

#[test]
fn the_book_has_every_setting_with_its_default() {
    let book = include_str!("../../../../../book/src/operate.md");
    let defaults = toml::Table::try_from(Settings::default()).unwrap();
    for described in &DESCRIBED {
        let default = defaults[described.key].to_string();
        let default = default.trim_matches('"');
        let row = format!("| `{}` | `{default}` | {} |", described.key, described.meaning);
        assert!(book.contains(&row), "the book lacks this line:\n{row}");
    }
}

#[test]
fn the_printed_file_says_the_same_again() {
    let settings = Settings { virt_type: VirtType::Kvm, ..Settings::default() };
    let file = settings.to_file().unwrap();
    assert_eq!(read(&file).unwrap(), settings);
    for field in fields() {
        assert!(file.contains(&format!("\n{field} = ")), "{field} is missing");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
    let error = error_of("region = \"r\"\nhypervizor = \"libvirt\"\n");
    assert!(error.contains(", line 2: ") && error.contains("`hypervizor`"), "{error}");
    assert!(fields().iter().all(|field| error.contains(&format!("`{field}`"))), "{error}");
}

#[test]
fn a_wrong_value_is_named_with_its_line_and_what_is_allowed() {
    for (field, wrong) in [
        ("data_dir", "7"),
        ("database_url", "\"mysql://db.example/updraft\""),
        ("database_url", "\"postgresql://updraft:secret@db.example/updraft\""),
        ("database_password_file", "7"),
        ("image_dir", "7"),
        ("api_url", "\"cloud.example\""),
        ("api_url", "\"ftp://cloud.example\""),
        ("api_url", "\"https://admin:secret@cloud.example\""),
        ("api_url", "\"https://cloud.example/identity\""),
        ("api_url", "\"https://\""),
        ("listen", "\"8774\""),
        ("listen", "\"0.0.0.0:8774\""),
        ("quic_listen", "\"localhost\""),
        ("quic_address", "[]"),
        ("node_listen", "true"),
        ("tunnel_address", "\"host2\""),
        ("physical_networks", "\"br-ex\""),
        ("physical_networks", "\"public:br-ex,public:br-in\""),
        ("physical_networks", "\"public:a-name-that-is-too-long\""),
        ("physical_networks", "\"public:br ex\""),
        ("metrics_listen", "\"9100\""),
        ("trace_file", "7"),
        ("hypervisor", "\"xen\""),
        ("virt_type", "\"KVM\""),
        ("region", "\"a: b\""),
        ("region", "\"\""),
        ("token_lifetime_secs", "0"),
        ("token_lifetime_secs", "2592001"),
        ("token_lifetime_secs", "-1"),
        ("token_lifetime_secs", "\"1h\""),
        ("scheduler_driver", "\"filter\""),
        ("scheduler_driver", "4"),
        ("cpu_allocation_ratio", "0"),
        ("cpu_allocation_ratio", "nan"),
        ("ram_allocation_ratio", "\"1\""),
        ("ram_allocation_ratio", "-1.5"),
        ("physical_mtu", "1329"),
        ("physical_mtu", "9217"),
        ("simulated_host", "[0, 1, 1]"),
        ("simulated_host", "[1, 1]"),
        ("simulated_host", "[-1, 1, 1]"),
    ] {
        let error = error_of(&format!("# a comment\n\n{field} = {wrong}\n"));
        let allowed = described(field).unwrap().allowed;
        assert!(error.contains(", line 3: ") && error.contains(allowed), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_its_line() {
    for (text, line) in [("listen\n", 1), ("\n\n= 3", 3), ("region = \"r\"\nregion = \"s\"\n", 2)] {
        let error = error_of(text);
        assert!(error.contains(&format!(", line {line}: ")), "{error}");
    }
}

#[test]
fn every_scheduler_driver_can_be_set() {
    let kinds = ["filters", "simple", "chance", "zone"].map(|name| {
        let driver = read(&format!("scheduler_driver = \"{name}\"")).unwrap().scheduler_driver;
        DriverKind::from(driver)
    });
    let all = [DriverKind::Filters, DriverKind::Simple, DriverKind::Chance, DriverKind::Zone];
    assert_eq!(kinds, all);
}

#[test]
fn whole_numbers_do_for_ratios() {
    assert_eq!(read("cpu_allocation_ratio = 2").unwrap().cpu_allocation_ratio.value(), 2.0);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::read(Path::new("/nowhere/updraft.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/updraft.toml") && error.contains("--config"), "{error}");
}

#[test]
fn what_is_laid_over_replaces_and_leaves_the_rest() {
    #[derive(Serialize)]
    struct Over {
        region: &'static str,
    }
    let settings = Settings { virt_type: VirtType::Qemu, ..Settings::default() };
    let with = settings.clone().with(&Over { region: "north" }).unwrap();
    assert_eq!(with.region.as_str(), "north");
    assert_eq!(with.virt_type, VirtType::Qemu);
}
