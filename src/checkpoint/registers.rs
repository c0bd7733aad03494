//! Registers of a thread, of every architecture, as names and numbers.

use crate::decode::{Arch, schema};

/// Registers at the freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Which names to expect.
    pub arch: Arch,
    /// Whether a 64-bit kernel ran a 32-bit task.
    pub is_compat: bool,
    /// Integer registers in the order of the architecture's manual.
    pub general: Vec<(&'static str, u64)>,
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Thread pointer, where it is kept apart.
    pub tls: Option<u64>,
    /// Vector and floating point registers: name and bytes, least significant first.
    pub vector: Vec<(String, Vec<u8>)>,
}

impl Registers {
    /// Registers of one core image; `None` when it holds none for its architecture.
    pub(super) fn from_core(core: &schema::CoreEntry) -> Option<Registers> {
        match Arch::from_mtype(core.mtype)? {
            Arch::X86 => core.thread_info.as_deref().map(x86),
            Arch::Arm => core.ti_arm.as_deref().map(arm),
            Arch::Aarch64 => core.ti_aarch64.as_deref().map(aarch64),
            Arch::Ppc64 => core.ti_ppc64.as_deref().map(ppc64),
            Arch::S390 => core.ti_s390.as_deref().map(s390),
            Arch::Mips => core.ti_mips.as_deref().map(mips),
            Arch::LoongArch64 => core.ti_loongarch64.as_deref().map(loongarch64),
            Arch::Riscv64 => core.ti_riscv64.as_deref().map(riscv64),
        }
    }
}

/// Address that the kernel clears when the thread exits.
pub(super) fn clear_tid(core: &schema::CoreEntry) -> Option<u64> {
    core.thread_info
        .as_ref()
        .map(|info| info.clear_tid_addr)
        .or_else(|| core.ti_arm.as_ref().map(|info| info.clear_tid_addr))
        .or_else(|| core.ti_aarch64.as_ref().map(|info| info.clear_tid_addr))
        .or_else(|| core.ti_ppc64.as_ref().map(|info| info.clear_tid_addr))
        .or_else(|| core.ti_s390.as_ref().map(|info| info.clear_tid_addr))
        .or_else(|| core.ti_mips.as_ref().map(|info| info.clear_tid_addr))
        .or_else(|| core.ti_loongarch64.as_ref().map(|info| info.clear_tid_addr))
        .or_else(|| core.ti_riscv64.as_ref().map(|info| info.clear_tid_addr))
        .filter(|addr| *addr != 0)
}

macro_rules! named {
    ($from:expr; $($name:ident),*) => {
        vec![$((stringify!($name), u64::from($from.$name))),*]
    };
}

fn indexed(names: &'static [&'static str], values: &[u64]) -> Vec<(&'static str, u64)> {
    names.iter().copied().zip(values.iter().copied()).collect()
}

fn vectors(prefix: &str, bytes_each: usize, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    bytes.chunks(bytes_each).enumerate().map(|(nr, chunk)| (format!("{prefix}{nr}"), chunk.to_vec())).collect()
}

fn words32(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn words64(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn x86(info: &schema::ThreadInfoX86) -> Registers {
    let regs = &info.gpregs;
    let is_compat = regs.mode == Some(schema::UserX86RegsMode::Compat as i32);
    let general = named!(regs; ax, bx, cx, dx, si, di, bp, sp, r8, r9, r10, r11, r12, r13, r14, r15, ip, flags,
        orig_ax, cs, ss, ds, es, fs, gs, fs_base, gs_base);
    let fp = &info.fpregs;
    let mut vector = vectors("st", 16, &words32(&fp.st_space));
    let xmm = words32(&fp.xmm_space);
    let ymmh = fp.xsave.as_ref().filter(|xsave| xsave.xstate_bv & 4 != 0).map(|xsave| words32(&xsave.ymmh_space));
    let high = |nr: usize| ymmh.as_ref().and_then(|ymmh| ymmh.get(nr * 16..nr * 16 + 16));
    for (nr, low) in xmm.chunks(16).enumerate().take(16) {
        match high(nr) {
            Some(high) => vector.push((format!("ymm{nr}"), [low, high].concat())),
            None => vector.push((format!("xmm{nr}"), low.to_vec())),
        }
    }
    if let Some(xsave) = &fp.xsave {
        if xsave.xstate_bv & (1 << 5) != 0 {
            vector.extend(vectors("k", 8, &words64(&xsave.opmask_reg)));
        }
        if xsave.xstate_bv & (1 << 6) != 0 {
            vector.extend(vectors("zmm_high", 32, &words64(&xsave.zmm_upper)));
        }
        if xsave.xstate_bv & (1 << 7) != 0 {
            let zmm = words64(&xsave.hi16_zmm);
            vector.extend(zmm.chunks(64).enumerate().map(|(nr, chunk)| (format!("zmm{}", nr + 16), chunk.to_vec())));
        }
        if xsave.xstate_bv & (1 << 9) != 0 {
            vector.push(("pkru".into(), words32(xsave.pkru.get(..1).unwrap_or_default())));
        }
    }
    for (name, word) in [("fcw", fp.cwd), ("fsw", fp.swd), ("ftw", fp.twd), ("fop", fp.fop)] {
        vector.push((name.into(), word.to_le_bytes()[..2].to_vec()));
    }
    vector.push(("fip".into(), fp.rip.to_le_bytes().to_vec()));
    vector.push(("fdp".into(), fp.rdp.to_le_bytes().to_vec()));
    vector.push(("mxcsr".into(), fp.mxcsr.to_le_bytes().to_vec()));
    vector.push(("mxcsr_mask".into(), fp.mxcsr_mask.to_le_bytes().to_vec()));
    Registers { arch: Arch::X86, is_compat, general, pc: regs.ip, sp: regs.sp, tls: Some(regs.fs_base), vector }
}

fn arm(info: &schema::ThreadInfoArm) -> Registers {
    let regs = &info.gpregs;
    Registers {
        arch: Arch::Arm,
        is_compat: false,
        general: named!(regs; r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, fp, ip, sp, lr, pc, cpsr, orig_r0),
        pc: u64::from(regs.pc),
        sp: u64::from(regs.sp),
        tls: Some(u64::from(info.tls)),
        vector: vectors("d", 8, &words64(&info.fpstate.vfp_regs)),
    }
}

const X: [&str; 31] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
    "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
];
const R: [&str; 32] = [
    "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "r16", "r17",
    "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30", "r31",
];

fn aarch64(info: &schema::ThreadInfoAarch64) -> Registers {
    let regs = &info.gpregs;
    let mut general = indexed(&X, &regs.regs);
    general.extend(named!(regs; sp, pc, pstate));
    let mut vector = vectors("v", 16, &words64(&info.fpsimd.vregs));
    vector.push(("fpsr".into(), info.fpsimd.fpsr.to_le_bytes().to_vec()));
    vector.push(("fpcr".into(), info.fpsimd.fpcr.to_le_bytes().to_vec()));
    let tls = Some(info.tls);
    Registers { arch: Arch::Aarch64, is_compat: false, general, pc: regs.pc, sp: regs.sp, tls, vector }
}

fn ppc64(info: &schema::ThreadInfoPpc64) -> Registers {
    let regs = &info.gpregs;
    let mut general = indexed(&R, &regs.gpr);
    general.extend(named!(regs; nip, msr, orig_gpr3, ctr, link, xer, ccr, trap));
    let mut vector = Vec::new();
    if let Some(fp) = &info.fpstate {
        vector.extend(vectors("f", 8, &words64(fp.fpregs.get(..32).unwrap_or(&fp.fpregs))));
    }
    if let Some(vr) = &info.vrstate {
        vector.extend(vectors("vr", 16, &words64(vr.vrregs.get(..64).unwrap_or(&vr.vrregs))));
    }
    let sp = regs.gpr.get(1).copied().unwrap_or_default();
    let tls = regs.gpr.get(13).copied();
    Registers { arch: Arch::Ppc64, is_compat: false, general, pc: regs.nip, sp, tls, vector }
}

fn s390(info: &schema::ThreadInfoS390) -> Registers {
    let regs = &info.gpregs;
    let mut general = indexed(&R, regs.gprs.get(..16).unwrap_or(&regs.gprs));
    general.extend(named!(regs; psw_mask, psw_addr, orig_gpr2, system_call));
    let tls = match regs.acrs.as_slice() {
        [high, low, ..] => Some(u64::from(*high) << 32 | u64::from(*low)),
        _ => None,
    };
    let sp = regs.gprs.get(15).copied().unwrap_or_default();
    let vector = vectors("f", 8, &words64(&info.fpregs.fprs));
    Registers { arch: Arch::S390, is_compat: false, general, pc: regs.psw_addr, sp, tls, vector }
}

fn mips(info: &schema::ThreadInfoMips) -> Registers {
    let regs = &info.gpregs;
    let general = named!(regs; r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15, r16, r17, r18, r19,
        r20, r21, r22, r23, r24, r25, r26, r27, r28, r29, r30, r31, lo, hi, cp0_epc, cp0_badvaddr, cp0_status, cp0_cause);
    let tls = Some(info.tls);
    Registers { arch: Arch::Mips, is_compat: false, general, pc: regs.cp0_epc, sp: regs.r29, tls, vector: Vec::new() }
}

fn loongarch64(info: &schema::ThreadInfoLoongarch64) -> Registers {
    let regs = &info.gpregs;
    let mut general = indexed(&R, &regs.regs);
    general.extend(named!(regs; pc));
    let sp = regs.regs.get(3).copied().unwrap_or_default();
    // CRIU never fills the floating point values: showing them would be showing rubbish.
    let tls = Some(info.tls);
    Registers { arch: Arch::LoongArch64, is_compat: false, general, pc: regs.pc, sp, tls, vector: Vec::new() }
}

fn riscv64(info: &schema::ThreadInfoRiscv64) -> Registers {
    let regs = &info.gpregs;
    let general = named!(regs; pc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7, s2, s3, s4, s5,
        s6, s7, s8, s9, s10, s11, t3, t4, t5, t6);
    Registers {
        arch: Arch::Riscv64,
        is_compat: false,
        general,
        pc: regs.pc,
        sp: regs.sp,
        tls: Some(info.tls),
        vector: vectors("f", 8, &words64(&info.fpsimd.f)),
    }
}
