use proptest::prelude::*;

use super::*;

const READ: Work = Work::Read { whole: false };
const WRITE: Work = Work::Write { fua: true };
const ZEROES: Work = Work::Zeroes { no_hole: true, fua: false };
const TRIM: Work = Work::Trim { fua: true };
const MIB: u32 = 1 << 20;

fn pieces(work: Work, offset: u64, len: u32, block_size: u32) -> Vec<Piece> {
    let mut cut = Cut::new(work, offset, u64::from(len), block_size);
    std::iter::from_fn(|| cut.next()).collect()
}

fn cut(work: Work, offset: u64, len: u32, block_size: u32) -> Vec<(PartOp, u64, u32)> {
    let pieces = pieces(work, offset, len, block_size);
    pieces.iter().map(|piece| (piece.op, piece.offset, piece.len)).collect()
}

#[test]
fn data_are_cut_at_whole_blocks() {
    let read = |offset, len| (PartOp::Read, offset, len);
    assert_eq!(cut(READ, 5, 0, 4096), []);
    assert_eq!(cut(READ, 5, 1, 4096), [read(5, 1)]);
    assert_eq!(cut(READ, 4096, MIB, 4096), [read(4096, MIB)]);
    assert_eq!(cut(READ, 512, MIB, 512), [read(512, MIB - 512), read(1 << 20, 512)]);
    let first = 3 * 4096 + 1;
    assert_eq!(
        cut(READ, first, 2 * MIB, 4096),
        [read(first, MIB - 1), read(first + (1 << 20) - 1, MIB), read(first + (2 << 20) - 1, 1)]
    );
    let end = u64::MAX - u64::MAX % 4096;
    assert_eq!(cut(READ, end, 4095, 4096), [read(end, 4095)]);
}

#[test]
fn zeroes_have_edges_where_they_do_not_fill_a_block() {
    let edge = |offset, len| (PartOp::ZeroesEdge, offset, len);
    let whole = |offset, len| (PartOp::Zeroes { no_hole: true }, offset, len);
    assert_eq!(cut(ZEROES, 0, 0, 512), []);
    assert_eq!(cut(ZEROES, 512, 1024, 512), [whole(512, 1024)]);
    assert_eq!(cut(ZEROES, 512, 1024, 4096), [edge(512, 1024)]);
    assert_eq!(cut(ZEROES, 511, 2, 512), [edge(511, 1), edge(512, 1)]);
    assert_eq!(cut(ZEROES, 1, 1024, 512), [edge(1, 511), whole(512, 512), edge(1024, 1)]);
    assert_eq!(cut(ZEROES, 0, u32::MAX, 512), [whole(0, u32::MAX - 511), edge(0xffff_fe00, 511)]);
    let end = u64::MAX - u64::MAX % 4096;
    assert_eq!(cut(ZEROES, end + 1, 4094, 4096), [edge(end + 1, 4094)]);
}

#[test]
fn trim_is_rounded_inwards_whatever_the_block_size() {
    for block_size in [512, 4096] {
        let trim = |offset, len| vec![(PartOp::Trim, offset, len)];
        assert_eq!(cut(TRIM, 4096, 8192, block_size), trim(4096, 8192));
        assert_eq!(cut(TRIM, 4095, 8194, block_size), trim(4096, 8192));
        assert_eq!(cut(TRIM, 0, u32::MAX, block_size), trim(0, 0xffff_f000));
        for (offset, len) in [(0, 0), (0, 4095), (1, 8190), (4097, 4096), (u64::MAX - 9, 9)] {
            assert_eq!(cut(TRIM, offset, len, block_size), [], "{offset} {len}");
        }
    }
}

#[test]
fn a_flush_is_one_piece_and_only_changes_carry_fua() {
    assert_eq!(cut(Work::Flush, 0, 0, 512), [(PartOp::Flush, 0, 0)]);
    let fua =
        |work| pieces(work, 1, 3 * MIB, 512).iter().map(|piece| piece.fua).collect::<Vec<_>>();
    assert_eq!(fua(WRITE), [true; 4]);
    assert_eq!(fua(TRIM), [true]);
    assert_eq!(fua(Work::Zeroes { no_hole: false, fua: true }), [true; 3]);
    assert_eq!(fua(ZEROES), [false; 3]);
    assert_eq!(fua(READ), [false; 4]);
}

fn any_offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_000_u64, any::<u64>().prop_map(|n| n - n % 512), any::<u64>()]
}

fn any_len() -> impl Strategy<Value = u32> {
    prop_oneof![0..10_000_u32, 0..9 * MIB, any::<u32>().prop_map(|n| n - n % 512), any::<u32>()]
}

proptest! {
    #[test]
    fn pieces_are_the_request(
        work in prop_oneof![Just(READ), Just(WRITE), Just(ZEROES)],
        offset in any_offset(),
        len in any_len(),
        block_size in prop_oneof![Just(512_u32), Just(4096)],
    ) {
        let moves_data = matches!(work, Work::Read { .. } | Work::Write { .. });
        let len = if moves_data { len % (64 * MIB + 1) } else { len };
        prop_assume!(offset.checked_add(u64::from(len)).is_some());
        let mut at = offset;
        for piece in pieces(work, offset, len, block_size) {
            prop_assert_eq!(piece.offset, at);
            prop_assert!(piece.len > 0);
            at += u64::from(piece.len);
            let block = u64::from(block_size);
            let aligned = piece.offset % block == 0 && u64::from(piece.len) % block == 0;
            let cut_bytes = u64::from(CUT_BYTES);
            match piece.op {
                PartOp::Read | PartOp::Write => {
                    let head = piece.offset % cut_bytes;
                    prop_assert!(head + u64::from(piece.len) <= u64::from(PART_BYTES_MAX));
                    prop_assert!(at % cut_bytes == 0 || at == offset + u64::from(len));
                }
                PartOp::Zeroes { no_hole } => prop_assert!(no_hole && aligned),
                PartOp::ZeroesEdge => {
                    prop_assert!(!aligned && piece.len < block_size);
                    prop_assert_eq!(piece.offset / block, (at - 1) / block);
                }
                PartOp::Trim | PartOp::Flush | PartOp::Extents { .. } => {
                    prop_assert!(false, "not asked for");
                }
            }
        }
        prop_assert_eq!(at, offset + u64::from(len));
    }

    #[test]
    fn trim_keeps_every_whole_block_and_nothing_else(offset in any_offset(), len in any_len()) {
        prop_assume!(offset.checked_add(u64::from(len)).is_some());
        let (end, block) = (u128::from(offset) + u128::from(len), u128::from(CUT_BYTES));
        let first = u128::from(offset).div_ceil(block);
        let blocks = (end / block).saturating_sub(first);
        let trimmed = cut(TRIM, offset, len, 512);
        if blocks == 0 {
            prop_assert_eq!(trimmed, []);
        } else {
            prop_assert_eq!(trimmed.len(), 1);
            prop_assert_eq!(u128::from(trimmed[0].1), first * block);
            prop_assert_eq!(u128::from(trimmed[0].2), blocks * block);
        }
    }
}
