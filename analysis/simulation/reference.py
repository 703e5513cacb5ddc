"""CMS full-simulation templates of 2015 that the simulation is compared with.

Source: the pyhf workspace of the full 2015 sample, made from the CMS Open Data ntuples with the
published tutorial's selection: 2256.38 /pb, 11 bins of 40 GeV from 110 GeV. The jets' four-momentum
there mixes raw pT with corrected energy, so that the trijet mass has to be built the same way here.
Variations of ttbar: the nominal template times the workspace's normalisation and shape factors
(smoothed there). Event counts.
"""

from __future__ import annotations

LUMINOSITY_IPB = 2256.38
FIRST_EDGE_GEV, BIN_WIDTH_GEV, BINS = 110.0, 40.0, 11
PRESELECTION_EFFICIENCY = {
    "ttbar__nominal": 0.2104,
    "ttbar__scaleup": 0.2126,
    "ttbar__scaledown": 0.2073,
    "ttbar__ME_var": 0.2138,
    "ttbar__PS_var": 0.2124,
    "single_top_t_chan": 0.3022,
    "single_atop_t_chan": 0.3226,
    "single_top_tW": 0.2252,
}
"""Events in the CMS skim over generated events (dataset sizes of the CERN Open Data portal)."""

TEMPLATES: dict[str, dict[str, tuple[float, ...]]] = {
    "4j1b": {
        "ttbar__nominal": (94.8, 2826.8, 9858.5, 14817.6, 15068.5, 12744.0, 10086.4, 7720.5, 5859.6, 4441.6, 3372.7),
        "wjets": (291.6, 3674.4, 6451.8, 6583.0, 5607.9, 4577.0, 3511.9, 2824.2, 2096.7, 1650.3, 1309.9),
        "single_top_t_chan": (7.8, 149.1, 343.0, 376.8, 316.2, 246.3, 185.6, 139.3, 104.6, 80.0, 61.5),
        "single_atop_t_chan": (4.2, 80.7, 192.9, 203.8, 171.3, 128.8, 95.4, 73.8, 53.5, 37.6, 30.8),
        "single_top_tW": (12.2, 340.7, 919.7, 1101.0, 968.4, 778.6, 613.3, 469.5, 361.9, 275.3, 209.9),
        "ttbar__ME_var": (95.5, 2733.4, 9395.2, 14587.2, 15807.5, 14287.8, 11867.3, 9498.3, 7496.4, 5807.7, 4520.7),
        "ttbar__PS_var": (137.7, 3742.3, 11615.6, 16251.8, 15675.3, 12878.2, 9988.4, 7532.7, 5638.2, 4219.7, 3148.0),
        "ttbar__scaleup": (87.9, 2750.8, 9756.9, 14860.3, 15239.1, 13067.9, 10275.6, 7887.1, 5950.8, 4495.1, 3408.5),
        "ttbar__scaledown": (99.4, 2912.6, 9979.3, 14709.7, 14695.4, 12361.2, 9738.2, 7438.8, 5680.9, 4253.7, 3272.9),
    },
    "4j2b": {
        "ttbar__nominal": (6991.4, 14604.1, 15410.8, 11664.0, 8312.3, 5775.1, 4039.3, 2842.0, 2016.9, 1455.6, 1071.8),
        "wjets": (383.6, 558.7, 609.6, 564.3, 478.5, 376.6, 326.4, 265.7, 172.3, 166.0, 108.1),
        "single_top_t_chan": (68.6, 120.8, 135.8, 124.7, 103.2, 80.9, 64.0, 49.6, 39.2, 31.2, 23.9),
        "single_atop_t_chan": (52.1, 97.2, 116.3, 103.3, 84.6, 71.1, 53.0, 41.3, 31.3, 24.1, 17.8),
        "single_top_tW": (215.7, 397.9, 422.5, 356.6, 276.8, 218.2, 166.4, 118.7, 92.7, 68.5, 56.4),
        "ttbar__ME_var": (7087.8, 14150.9, 15098.8, 11858.1, 8772.4, 6377.5, 4617.8, 3340.7, 2470.8, 1852.7, 1381.1),
        "ttbar__PS_var": (7832.5, 14144.1, 13876.6, 10256.3, 7239.3, 4905.9, 3418.0, 2386.7, 1682.5, 1200.4, 870.8),
        "ttbar__scaleup": (7212.3, 15371.4, 16530.0, 12458.5, 8838.0, 6200.2, 4322.3, 3013.3, 2143.6, 1547.4, 1141.7),
        "ttbar__scaledown": (6499.7, 13357.9, 13805.3, 10455.6, 7485.5, 5206.8, 3660.9, 2551.9, 1809.0, 1313.2, 967.1),
    },
}
