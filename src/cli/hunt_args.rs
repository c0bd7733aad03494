//! What may be asked of `cryoscope hunt`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::args::{Maps, parse_size};
use crate::memory::search::Source;

/// What can be looked for, of which there must be something.
#[cfg(feature = "yara")]
const WHAT: [&str; 3] = ["pattern", "secrets", "yara"];
#[cfg(not(feature = "yara"))]
const WHAT: [&str; 2] = ["pattern", "secrets"];

/// `hunt`
#[derive(Debug, Args)]
#[command(after_help = "\
Searches every archive below a directory as `cryoscope search` does, several at a time. With -o DIR three tables are \
written, each as JSON Lines and as Parquet: hits, issues (what could not be read or searched, whole archives too), \
archives. An archive that is broken is a row of issues and stops nothing.

Archives are named by paths, by http and https addresses, and in buckets of any store that speaks S3: s3://BUCKET is all \
of one, s3://BUCKET/KEY the object and all below it, s3://BUCKET/KEY* all that begin so. A --list has one a line; a line \
s3://BUCKET/KEY there is that object alone. Where a line breaks, reading goes on from there.

Credentials for buckets are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or those of a workload of \
Kubernetes (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE); without any, buckets are read that are public. Profiles in ~/.aws \
are not read: `eval \"$(aws configure export-credentials --format env)\"`. Google's buckets are read with --endpoint \
https://storage.googleapis.com and HMAC keys; Azure's are not: mount them, or give addresses with a signature.

An archive that was taken on top of an earlier one, which is not in it or beside it, is searched without the pages of that \
one, and issues say so: which is its parent, `cryoscope search --parent` has to be told.

With --shard 3/10 only a tenth of the archives is searched, always the same one: ten machines search all. --kubernetes \
prints an Indexed Job whose pods do that, with what it needs; paths are then those in the pods, --rootfs too, and the claim \
with the archives is mounted at /evidence. Of s3:// addresses no claim is needed; credentials then come from a Secret or by \
a service account, and never stand in the job.

Examples:
  cryoscope hunt --yara rules.yar /srv/evidence -o found
  duckdb -c \"select archive, rule, count(*) from 'found/hits-*.parquet' group by all\"
  cryoscope hunt -e 'BEGIN RSA PRIVATE KEY' --hash /srv/evidence --json | jq -r 'select(.row == \"hit\") | .archive'
  cryoscope hunt --secrets --list archives.txt -o found
  cryoscope hunt --yara rules.yar s3://case-117/nodes/ --endpoint https://minio.example -o found
  cryoscope hunt --yara rules.yar --kubernetes --image REGISTRY/cryoscope:0.1 --archives-claim evidence --shards 20 | kubectl apply -f -
  cryoscope hunt --yara rules.yar s3://case-117 --kubernetes --image REGISTRY/cryoscope:0.1 --credentials-secret case-117 | kubectl apply -f -

Exit codes: 0 found, 1 nothing found (0 for a shard), 2 the request or the input was wrong.")]
#[command(group(clap::ArgGroup::new("hunted").args(WHAT).required(true).multiple(false)))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct HuntArgs {
    /// Archives, or directories with archives at any depth; s3://BUCKET/KEY; http and https addresses
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// A file that names archives, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub list: Vec<PathBuf>,
    /// Exactly these bytes; may be given often
    #[arg(long, short = 'e', value_name = "PATTERN", allow_hyphen_values = true)]
    pub pattern: Vec<OsString>,
    /// PATTERN is a regular expression over bytes
    #[arg(long, requires = "pattern", conflicts_with_all = ["hex", "utf16"])]
    pub regex: bool,
    /// PATTERN is bytes in hex, ? for any digit
    #[arg(long, requires = "pattern", conflicts_with = "utf16")]
    pub hex: bool,
    /// PATTERN is text, stored as UTF-16 (little endian)
    #[arg(long, requires = "pattern")]
    pub utf16: bool,
    /// Letters in either case
    #[arg(long, short, requires = "pattern", conflicts_with = "hex")]
    pub ignore_case: bool,
    /// Everything that looks like a secret
    #[arg(long)]
    pub secrets: bool,
    /// Every match of every YARA rule in this file that holds; may be given often
    #[cfg(feature = "yara")]
    #[arg(long, value_name = "FILE")]
    pub yara: Vec<PathBuf>,
    /// Which maps; leaves memory as the only source.
    #[command(flatten)]
    pub maps: Maps,
    /// Only these sources, as `search` has them
    #[arg(long = "in", value_name = "SOURCE", value_delimiter = ',')]
    pub sources: Vec<Source>,
    /// Bytes before and behind each match
    #[arg(long, short = 'C', value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(..=1 << 16))]
    pub context: u32,
    /// Most matches of one archive
    #[arg(long, short, value_name = "N", default_value_t = 100_000)]
    pub max_count: u64,
    /// Compute the SHA-256 of each archive
    #[arg(long)]
    pub hash: bool,
    /// Directory for the tables; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace tables that exist
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Archives that are open at once [default: as many as there are processors, at most 4]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// An image that containers started from, as `search` has it; may be given often: each archive is read with the one
    /// that has most of its mapped files, if any has
    #[arg(long, value_name = "IMAGE")]
    pub rootfs: Vec<PathBuf>,
    /// Only this share of the archives: I/N, I from 0
    #[arg(long, value_name = "I/N", conflicts_with = "kubernetes")]
    pub shard: Option<Shard>,
    /// Print an Indexed Job for Kubernetes instead of searching
    #[arg(long, requires = "image")]
    pub kubernetes: bool,
    /// Where buckets are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// How the job is made.
    #[command(flatten)]
    pub job: JobArgs,
}

/// Where buckets are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "With s3://")]
pub struct StoreArgs {
    /// The store, where it is not Amazon's: https://HOST or http://HOST:PORT [default: $AWS_ENDPOINT_URL_S3]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Region of the bucket [default: $AWS_REGION, or us-east-1]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
}

/// How the job is made.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "With --kubernetes")]
pub struct JobArgs {
    /// Image with the program cryoscope
    #[arg(long, value_name = "IMAGE", requires = "kubernetes")]
    pub image: Option<String>,
    /// Claim of the volume with the archives, mounted read-only at /evidence; not needed where all lie in buckets
    #[arg(long, value_name = "CLAIM", requires = "kubernetes")]
    pub archives_claim: Option<String>,
    /// Claim of a volume for the tables [default: one is made, which many nodes can write]
    #[arg(long, value_name = "CLAIM", requires = "kubernetes")]
    pub results_claim: Option<String>,
    /// Size of the claim that is made
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = parse_size)]
    pub results_size: u64,
    /// Shares, each a pod
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub shards: u32,
    /// Pods at once [default: all, at most 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub parallelism: Option<u32>,
    /// Name of the job and of what it needs
    #[arg(long, value_name = "NAME", default_value = "cryoscope-hunt", value_parser = parse_name)]
    pub name: String,
    /// Namespace of them [default: that of kubectl]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_name)]
    pub namespace: Option<String>,
    /// Secret whose keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, value_name = "NAME", requires = "kubernetes", value_parser = parse_object)]
    pub credentials_secret: Option<String>,
    /// Service account of the pods, where the cluster gives workloads credentials by it
    #[arg(long, value_name = "NAME", requires = "kubernetes", value_parser = parse_object)]
    pub service_account: Option<String>,
    /// Processors of a pod
    #[arg(long, value_name = "CPU", default_value = "1")]
    pub cpu: String,
    /// Memory of a pod
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = parse_size)]
    pub memory: u64,
    /// Room in a pod to unpack compressed archives
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = parse_size)]
    pub scratch: u64,
}

/// A share of the archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub index: u32,
    /// Of so many.
    pub count: u32,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let read = |text: &str| text.parse::<u32>().ok();
        let parts = text.split_once('/').and_then(|(index, count)| Some((read(index)?, read(count)?)));
        match parts {
            Some((index, count)) if index < count && count <= 100_000 => Ok(Shard { index, count }),
            _ => Err(format!("{text}: not a share; give I/N with I from 0 to N-1, as 3/10")),
        }
    }
}

/// A name that something has in Kubernetes already.
fn parse_object(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_right = (1..=253).contains(&text.len())
        && text.chars().all(|c| is_plain(c) || matches!(c, '-' | '.'))
        && text.starts_with(is_plain)
        && text.ends_with(is_plain);
    is_right.then(|| text.to_owned()).ok_or_else(|| format!("{text}: nothing in Kubernetes can have this name"))
}

/// A name of Kubernetes: RFC 1123, short enough that pods of an Indexed Job can be named after it.
fn parse_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_right = (1..=50).contains(&text.len())
        && text.chars().all(|c| is_plain(c) || c == '-')
        && text.starts_with(is_plain)
        && text.ends_with(is_plain);
    is_right
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text}: not a name of Kubernetes; small letters, digits and - make one, at most 50"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_from_nought() {
        assert_eq!("3/10".parse(), Ok(Shard { index: 3, count: 10 }));
        for wrong in ["", "3", "10/10", "0/0", "-1/2", "1/100001", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        for wrong in ["", "A", "a_b", "-a", "a-", &"a".repeat(51)] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
        assert!(parse_name("hunt-1").is_ok());
    }
}
