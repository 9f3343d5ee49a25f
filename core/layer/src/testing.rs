//! A writer of archives for tests, raw enough for hostile ones.

#![allow(dead_code, missing_docs, unreachable_pub)]

/// The fields of a header.
#[derive(Clone)]
pub struct Head {
    pub name: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: u64,
    pub link: Vec<u8>,
    pub magic: [u8; 8],
    pub device: (u32, u32),
    pub prefix: Vec<u8>,
}

pub const USTAR: [u8; 8] = *b"ustar\x0000";
pub const GNU: [u8; 8] = *b"ustar  \0";
pub const V7: [u8; 8] = [0; 8];

impl Head {
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Head {
        Head {
            name: name.as_ref().to_vec(),
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            size: 0,
            mtime: 1_000_000_000,
            link: Vec::new(),
            magic: USTAR,
            device: (0, 0),
            prefix: Vec::new(),
        }
    }

    pub fn link(mut self, link: impl AsRef<[u8]>) -> Head {
        self.link = link.as_ref().to_vec();
        self
    }

    pub fn mode(mut self, mode: u32) -> Head {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u32, gid: u32) -> Head {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn mtime(mut self, mtime: u64) -> Head {
        self.mtime = mtime;
        self
    }

    pub fn size(mut self, size: u64) -> Head {
        self.size = size;
        self
    }

    pub fn device(mut self, major: u32, minor: u32) -> Head {
        self.device = (major, minor);
        self
    }

    pub fn magic(mut self, magic: [u8; 8]) -> Head {
        self.magic = magic;
        self
    }

    pub fn prefix(mut self, prefix: &str) -> Head {
        self.prefix = prefix.into();
        self
    }

    pub fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8], most: usize| {
            let count = bytes.len().min(most);
            block[at..at + count].copy_from_slice(&bytes[..count]);
        };
        put(0, &self.name, 100);
        put(100, format!("{:07o}\0", self.mode).as_bytes(), 8);
        put(108, format!("{:07o}\0", self.uid).as_bytes(), 8);
        put(116, format!("{:07o}\0", self.gid).as_bytes(), 8);
        put(124, format!("{:011o}\0", self.size).as_bytes(), 12);
        put(136, format!("{:011o}\0", self.mtime).as_bytes(), 12);
        put(156, &[self.kind], 1);
        put(157, &self.link, 100);
        put(257, &self.magic, 8);
        put(329, format!("{:07o}\0", self.device.0).as_bytes(), 8);
        put(337, format!("{:07o}\0", self.device.1).as_bytes(), 8);
        put(345, &self.prefix, 155);
        checksum(&mut block);
        block
    }
}

/// Writes the checksum into a block.
pub fn checksum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    /// A header and its data, as they are.
    pub fn raw(mut self, block: &[u8; 512], data: &[u8]) -> Tar {
        self.0.extend_from_slice(block);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn entry(self, head: Head) -> Tar {
        self.raw(&head.block(), b"")
    }

    pub fn data(self, head: Head, data: &[u8]) -> Tar {
        self.raw(&head.size(data.len() as u64).block(), data)
    }

    pub fn file(self, name: impl AsRef<[u8]>, data: &[u8]) -> Tar {
        self.data(Head::new(b'0', name), data)
    }

    pub fn dir(self, name: impl AsRef<[u8]>) -> Tar {
        self.entry(Head::new(b'5', name))
    }

    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Tar {
        self.entry(Head::new(b'2', name).link(target).mode(0o777))
    }

    pub fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Tar {
        self.entry(Head::new(b'1', name).link(target))
    }

    pub fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        self.data(Head::new(b'x', "PaxHeaders/x"), &pax_records(records))
    }

    pub fn global(self, records: &[(&str, &[u8])]) -> Tar {
        self.data(Head::new(b'g', "PaxHeaders/g"), &pax_records(records))
    }

    /// A GNU long name (`L`) or long link (`K`).
    pub fn long(self, kind: u8, text: &[u8]) -> Tar {
        let mut data = text.to_vec();
        data.push(0);
        self.data(Head::new(kind, "././@LongLink").magic(GNU), &data)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (keyword, value) in records {
        let rest = keyword.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        out.extend_from_slice(format!("{length} {keyword}=").as_bytes());
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out
}

/// Numbers that look random and are always the same.
pub struct Xorshift(pub u64);

impl Xorshift {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
