//! The pages of the operator's guide: their commands are run as they are printed, on a booted Debian, and what they show is compared
//! with what is printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::ansible::is_root;
use crate::booted_debian::{BootedDebian, DebianFiles};
use crate::package::{NEW, OLD, deb, deb_in, packages};

/// The page that says which commands are run, and why others are not.
const LIST: &str = "docs/operate/execution.md";

/// The folders whose pages are looked at.
const FOLDERS: [&str; 2] = ["docs", "docs/operate"];

/// A line before the output of a block.
const MARK: &str = "=====> block";

/// The largest number of commands of the quick start.
const QUICK_START_COMMANDS: usize = 40;

/// Some text in a line of shown output, or as a line of its own any number of lines.
const ANYTHING: &str = "…";

/// An operator goes on when the unit is ready, and starts it less often than systemd permits.
const BETWEEN_PAGES: &str = "systemctl reset-failed
    while systemctl is-active -q personium && ! curl -sf http://127.0.0.1:9997/ready; do sleep 0.1; done > /dev/null";

/// A block of commands, and the output that the page shows for it.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    commands: String,
    shown: Option<String>,
}

impl Block {
    fn first_line(&self) -> &str {
        self.commands.lines().next().unwrap_or_default()
    }
}

/// A fenced part of a page.
struct Fence {
    language: String,
    text: String,
}

fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.join("..").canonicalize().unwrap()
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn fences(text: &str) -> Vec<Fence> {
    let mut fences = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let begin = line.trim_start();
        let Some(language) = begin.strip_prefix("```") else {
            continue;
        };
        let indentation = line.len() - begin.len();
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let text = inside.fold(String::new(), |text, line| {
            text + line.get(indentation..).unwrap_or_default() + "\n"
        });
        fences.push(Fence {
            language: language.trim().to_owned(),
            text,
        });
    }
    fences
}

/// The blocks of a page that are marked `sh`, each with the block after it if that is marked `output`.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for fence in fences(text) {
        match fence.language.as_str() {
            "sh" => blocks.push(Block {
                commands: fence.text,
                shown: None,
            }),
            "output" => {
                let last = blocks.last_mut().expect("output follows commands");
                assert!(last.shown.is_none(), "two outputs of {}", last.commands);
                last.shown = Some(fence.text);
            }
            _ => {}
        }
    }
    blocks
}

/// Whether a line is as shown.
fn line_matches(shown: &str, line: &str) -> bool {
    let mut parts = shown.split(ANYTHING);
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether an output is as shown.
fn output_matches(shown: &[&str], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, further)) if first.trim() == ANYTHING => {
            (0..=lines.len()).any(|skipped| output_matches(further, &lines[skipped..]))
        }
        Some((first, further)) => lines.split_first().is_some_and(|(line, rest)| {
            line_matches(first.trim_end(), line.trim_end()) && output_matches(further, rest)
        }),
    }
}

/// The rows of the table below a heading, as cells without their marks of code.
fn rows<'a>(list: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, below) = list
        .split_once(&format!("## {heading}\n"))
        .unwrap_or_else(|| panic!("{LIST} has no heading {heading}"));
    let below = below.split("\n## ").next().unwrap();
    let lines = below.lines().filter(|line| line.starts_with('|')).skip(2);
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().trim_matches('`')).collect()
        })
        .collect()
}

/// The pages, as paths from the folder of the project.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for folder in FOLDERS {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    pages.sort();
    pages
}

/// The content of the list: pages that are run here, blocks in them that are not, pages that are not, each with its reason; pages that another
/// test reads and runs; pages without commands.
struct List {
    run: Vec<String>,
    left_out: BTreeMap<(String, String), String>,
    not_run: BTreeMap<String, String>,
    elsewhere: BTreeMap<String, String>,
    without_commands: Vec<String>,
}

fn list() -> List {
    let text = read(LIST);
    let page = |cell: &str| {
        if cell == "README.md" {
            cell.to_owned()
        } else {
            format!("docs/{cell}")
        }
    };
    let left_out = rows(&text, "Commands that are not run");
    let [not_run, elsewhere] = [
        "Pages whose commands are not run here",
        "Pages that other tests run",
    ]
    .map(|heading| {
        let rows = rows(&text, heading);
        let rows = rows.iter().map(|row| (page(row[0]), row[1].to_owned()));
        rows.collect()
    });
    List {
        run: rows(&text, "Pages that are run")
            .iter()
            .map(|row| page(row[0]))
            .collect(),
        left_out: left_out
            .iter()
            .map(|row| ((page(row[0]), row[1].to_owned()), row[2].to_owned()))
            .collect(),
        not_run,
        elsewhere,
        without_commands: rows(&text, "Pages without commands")
            .iter()
            .map(|row| page(row[0]))
            .collect(),
    }
}

#[test]
fn every_page_is_run_or_listed_with_its_reason() {
    let list = list();
    let mut findings = Vec::new();
    for page in pages() {
        let text = read(&page);
        let fences = fences(&text);
        let places = [
            list.run.contains(&page),
            list.not_run.contains_key(&page),
            list.elsewhere.contains_key(&page),
            list.without_commands.contains(&page),
        ];
        if places.iter().filter(|place| **place).count() != 1 {
            findings.push(format!("{page} must be in one of the tables of {LIST}"));
        }
        let marked = fences.iter().all(|fence| !fence.language.is_empty());
        if page.starts_with("docs/") && !marked {
            findings.push(format!("{page} has a block without a language"));
        }
        let blocks = blocks(&text);
        let is_shell = |fence: &Fence| ["sh", "bash", "console"].contains(&fence.language.as_str());
        if list.without_commands.contains(&page) && fences.iter().any(is_shell) {
            findings.push(format!("{page} has commands"));
        }
        let left_out = |block: &Block| {
            let key = (page.clone(), block.first_line().to_owned());
            list.left_out.contains_key(&key)
        };
        if list.run.contains(&page) && blocks.iter().all(left_out) {
            findings.push(format!("{page} has no commands that are run"));
        }
    }
    for ((page, line), reason) in &list.left_out {
        let found = blocks(&read(page));
        let found = found.iter().any(|block| block.first_line() == line);
        if !found || reason.is_empty() || !list.run.contains(page) {
            findings.push(format!(
                "{LIST} names `{line}` of {page}, or gives no reason"
            ));
        }
    }
    for (page, test) in &list.elsewhere {
        if !root().join(test).is_file() || !read(test).contains(page.rsplit('/').next().unwrap()) {
            findings.push(format!("{test} does not read {page}"));
        }
    }
    let named = list.run.iter().chain(&list.without_commands);
    for page in named.chain(list.not_run.keys()) {
        if !root().join(page).is_file() {
            findings.push(format!("{LIST} names {page}, which does not exist"));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// Runs the blocks of a page, one after the other in one shell, and compares the output of each.
fn run_page(system: &BootedDebian, files: &DebianFiles, page: &str, blocks: &[&Block]) {
    let mut script = format!("{BETWEEN_PAGES}\nset -eu -o pipefail; exec 2>&1; cd\n");
    for (number, block) in blocks.iter().enumerate() {
        write!(script, "echo '{MARK} {number}'\n{}\n", block.commands).unwrap();
    }
    fs::write(files.path("opt/page"), script).unwrap();
    let (succeeded, output) = system.run("HOME=~root exec bash /opt/page");
    let outputs: Vec<&str> = output.split(MARK).skip(1).collect();
    for (block, output) in blocks.iter().zip(&outputs) {
        let (_, output) = output.split_once('\n').unwrap();
        let Some(shown) = &block.shown else { continue };
        let shown: Vec<&str> = shown.lines().collect();
        let lines: Vec<&str> = output.lines().collect();
        assert!(
            output_matches(&shown, &lines),
            "{page}: the output of\n{}is\n{output}",
            block.commands
        );
    }
    assert!(succeeded, "{page}: {output}");
    assert_eq!(outputs.len(), blocks.len(), "{page}: {output}");
}

#[test]
fn commands_of_the_pages_work_as_they_are_printed() {
    if !is_root() {
        return;
    }
    let list = list();
    let files = DebianFiles::of_the_guide();
    let packages = packages();
    fs::create_dir(files.path("root/next")).unwrap();
    for (version, place) in [(OLD, "root"), (NEW, "root/next")] {
        let to = files.path(place).join(deb(version));
        fs::copy(deb_in(&packages, version), to).unwrap();
    }
    drop(packages);
    let system = files.boot();
    for page in &list.run {
        let blocks = blocks(&read(page));
        let blocks: Vec<&Block> = blocks
            .iter()
            .filter(|block| {
                let key = (page.clone(), block.first_line().to_owned());
                !list.left_out.contains_key(&key)
            })
            .collect();
        let begin = Instant::now();
        run_page(&system, &files, page, &blocks);
        let seconds = begin.elapsed().as_secs_f32();
        println!("{page}: {} blocks in {seconds:.1} s", blocks.len());
    }
}

#[test]
fn quick_start_ends_with_a_cell_that_answers_by_its_name_over_tls_after_few_commands() {
    let page = "docs/operate/quick-start.md";
    let list = list();
    assert_eq!(list.run.first().map(String::as_str), Some(page));
    assert!(!list.left_out.keys().any(|(left_out, _)| left_out == page));
    let blocks = blocks(&read(page));
    // The file that this block reads is that of the last `output`, which the run compares.
    let last = blocks.last().unwrap();
    assert!(last.commands.ends_with("$CELL/home/hello.txt\n"));
    assert_eq!(last.shown.as_deref(), Some("Hello from my own cell\n"));
    let all: String = blocks.iter().map(|block| &*block.commands).collect();
    assert!(all.contains("CELL=https://alice.$UNIT\n"));
    // Lines that go on with the one before are no commands of their own.
    let commands = all
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with(' '));
    let commands = commands.count();
    assert!(
        (20..=QUICK_START_COMMANDS).contains(&commands),
        "{commands}"
    );
}

#[test]
fn shown_output_is_compared_line_by_line() {
    let page = "Text\n\n   ```sh\n   echo a\n   ```\n```output\na\n```\n```toml\nb = 1\n```\n";
    let expected = Block {
        commands: "echo a\n".to_owned(),
        shown: Some("a\n".to_owned()),
    };
    assert_eq!(blocks(page), [expected]);
    for (shown, printed, matches) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "a\nb", false),
        ("a\nb", "a", false),
        ("cell …: ok", "cell x (1): ok", true),
        ("cell …: ok", "cell x: bad", false),
        ("… a … b", "1 a 2 b", true),
        ("… a … b", "1 b 2 a", false),
        ("…\nb", "1\n2\nb", true),
        ("…\nb", "1\n2\nc", false),
        ("a\n…", "a", true),
    ] {
        let (shown, printed): (Vec<&str>, Vec<&str>) =
            (shown.lines().collect(), printed.lines().collect());
        assert_eq!(output_matches(&shown, &printed), matches, "{shown:?}");
    }
}
