"""RFC 6962: published vectors, a brute-force reading of its definitions, and the laws of proofs."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.audit.merkle import (
    EMPTY_ROOT,
    Edge,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The input and the roots by which implementations of certificate transparency are compared.
DATA = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(data) for data in DATA]
MANY = [leaf_hash(bytes([number])) for number in range(70)]


def inclusion_proof(leaves: list[bytes], index: int, size: int) -> list[bytes]:
    return [root(leaves, *part) for part in inclusion_ranges(index, size)]


def consistency_proof(leaves: list[bytes], old: int, new: int) -> list[bytes]:
    return [root(leaves, *part) for part in consistency_ranges(old, new)]


def brute_root(leaves: list[bytes]) -> bytes:
    """MTH(D) as section 2.1 words it."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(1 << power for power in range(len(leaves).bit_length()) if 1 << power < len(leaves))
    return hashlib.sha256(b"\x01" + brute_root(leaves[:k]) + brute_root(leaves[k:])).digest()


def brute_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D) as section 2.1.1 words it."""
    if len(leaves) == 1:
        return []
    k = max(1 << power for power in range(len(leaves).bit_length()) if 1 << power < len(leaves))
    if m < k:
        return [*brute_path(m, leaves[:k]), brute_root(leaves[k:])]
    return [*brute_path(m - k, leaves[k:]), brute_root(leaves[:k])]


def brute_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF(m, D, b) as section 2.1.2 words it."""
    if m == len(leaves):
        return [] if whole else [brute_root(leaves)]
    k = max(1 << power for power in range(len(leaves).bit_length()) if 1 << power < len(leaves))
    if m <= k:
        return [*brute_subproof(m, leaves[:k], whole), brute_root(leaves[k:])]
    return [*brute_subproof(m - k, leaves[k:], False), brute_root(leaves[:k])]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert root(LEAVES, 0, size).hex() == ROOTS[size]


def test_hash_prefixes() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()
    assert bytes.fromhex(ROOTS[0]) == EMPTY_ROOT == Edge().root()


def test_published_proofs() -> None:
    # RFC 6962, 2.1.3 draws a tree of seven leaves: PATH(0) = [b, h, l], PATH(3) = [c, g, l],
    # PATH(4) = [f, j, k], PATH(6) = [i, k]; PROOF(3, D[7]) = [c, d, g, l], PROOF(4, D[7]) = [l],
    # PROOF(6, D[7]) = [i, j, k].
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, tail = node_hash(g, h), node_hash(i, j)
    assert inclusion_proof(LEAVES, 0, 7) == [b, h, tail]
    assert inclusion_proof(LEAVES, 3, 7) == [c, g, tail]
    assert inclusion_proof(LEAVES, 4, 7) == [f, j, k]
    assert inclusion_proof(LEAVES, 6, 7) == [i, k]
    assert consistency_proof(LEAVES, 3, 7) == [c, d, g, tail]
    assert consistency_proof(LEAVES, 4, 7) == [tail]
    assert consistency_proof(LEAVES, 6, 7) == [i, j, k]


def test_everything_small_against_the_definitions() -> None:
    for size in range(1, 33):
        leaves = MANY[:size]
        assert root(leaves) == brute_root(leaves)
        for index in range(size):
            proof = inclusion_proof(MANY, index, size)
            assert proof == brute_path(index, leaves)
            assert verify_inclusion(MANY[index], index, size, proof, root(leaves))
        for old in range(1, size + 1):
            proof = consistency_proof(MANY, old, size)
            assert proof == brute_subproof(old, leaves, True)
            assert verify_consistency(old, size, proof, root(MANY, 0, old), root(leaves))


sizes = st.integers(min_value=1, max_value=70)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=8), max_size=80), st.integers(min_value=0, max_value=80))
def test_an_edge_can_be_stored_at_any_time(data: list[bytes], pause: int) -> None:
    edge = Edge()
    for number, item in enumerate(data):
        if number == pause:
            edge = Edge.from_bytes(edge.size, edge.to_bytes())
        edge.append(leaf_hash(item))
    assert edge.root() == brute_root([leaf_hash(item) for item in data])
    assert len(edge.hashes) == edge.size.bit_count()


@pytest.mark.parametrize("blocks", [[700], [1, 699], [255, 2, 300, 143], [256, 256, 188]])
def test_many_leaves_at_once_give_the_same_tree_and_its_tiles(blocks: list[int]) -> None:
    leaves = [leaf_hash(number.to_bytes(2)) for number in range(700)]
    one, many = Edge(), Edge()
    for leaf in leaves:
        one.append(leaf)
    for size in blocks:
        many.extend(leaves[many.size : many.size + size])
    assert (many.size, many.hashes) == (one.size, one.hashes)
    tiles = [(8, number, root(leaves, 256 * number, 256 * number + 256)) for number in range(2)]
    assert one.tiles == many.tiles == tiles


@settings(deadline=None)
@given(st.data())
def test_a_wrong_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    proof, top = inclusion_proof(MANY, index, size), root(MANY, 0, size)
    other = data.draw(st.integers(min_value=0, max_value=size - 1))
    assert verify_inclusion(MANY[index], other, size, proof, top) == (other == index)
    assert verify_inclusion(MANY[other], index, size, proof, top) == (other == index)
    assert not verify_inclusion(MANY[index], index, size, [*proof, MANY[0]], top)
    assert not verify_inclusion(MANY[index], size, size, proof, top)
    if proof:
        assert not verify_inclusion(MANY[index], index, size, proof[:-1], top)
        at = data.draw(st.integers(min_value=0, max_value=len(proof) - 1))
        bent = [*proof[:at], bytes(32), *proof[at + 1 :]]
        assert not verify_inclusion(MANY[index], index, size, bent, top)


@settings(deadline=None)
@given(st.data())
def test_a_wrong_consistency_proof_is_refused(data: st.DataObject) -> None:
    new = data.draw(sizes)
    old = data.draw(st.integers(min_value=1, max_value=new))
    old_root, new_root = root(MANY, 0, old), root(MANY, 0, new)
    proof = consistency_proof(MANY, old, new)
    forked = root([bytes(32), *MANY[1:]], 0, old)
    assert not verify_consistency(old, new, proof, forked, new_root)
    assert not verify_consistency(old, new, proof, old_root, bytes(32))
    assert not verify_consistency(old, new, [*proof, MANY[0]], old_root, new_root)
    assert not verify_consistency(new + 1, new, proof, old_root, new_root)
    if proof:
        assert not verify_consistency(old, new, proof[:-1], old_root, new_root)
        at = data.draw(st.integers(min_value=0, max_value=len(proof) - 1))
        assert not verify_consistency(
            old, new, [*proof[:at], bytes(32), *proof[at + 1 :]], old_root, new_root
        )


def test_nonsense_is_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match="index=3, size=3"):
        inclusion_proof(MANY, 3, 3)
    with pytest.raises(ValueError, match="old=0, new=3"):
        consistency_proof(MANY, 0, 3)
    with pytest.raises(ValueError, match="a tree of 3 leaves cannot have an edge of 1 hashes"):
        Edge(3, [bytes(32)])
