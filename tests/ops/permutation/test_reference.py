from textmill.ops.permutation.reference import mix, mixed, permute


def test_the_hash_is_splitmix64():
    # the first outputs of SplitMix64 seeded with 0, from its authors' program
    golden = 0x9E3779B97F4A7C15
    assert [mix(golden * step) for step in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_a_bijection_for_all_small_sizes():
    for size in range(1, 130):
        for key in (0, 1, (1 << 64) - 1):
            assert sorted(permute(index, size, key) for index in range(size)) == list(range(size))


def test_every_order_of_four_comes_up():
    orders = {tuple(permute(index, 4, mixed(key)) for index in range(4)) for key in range(2000)}
    assert len(orders) == 24


def test_keys_of_several_parts():
    keys = {mixed(seed, epoch) for seed in range(50) for epoch in range(50)}
    assert len(keys) == 2500
    assert mixed(-1) != mixed(1)
    assert all(0 <= key < 1 << 64 for key in keys)
