"""References that several definitions share; a reference of one definition stands in it."""

from softknee.catalogue.definition import Reference

CARLILE_2017 = Reference(
    "Improving deep learning by inverse square root linear units (ISRLUs)",
    "Brad Carlile, Guy Delamarter, Paul Kinney, Akiko Marti, Brian Whitney",
    2017,
    arxiv="1710.09967",
)
CLEVERT_2015 = Reference(
    "Fast and accurate deep network learning by exponential linear units (ELUs)",
    "Djork-Arné Clevert, Thomas Unterthiner, Sepp Hochreiter",
    2015,
    arxiv="1511.07289",
)
BASIRAT_2018 = Reference(
    "The quest for the golden activation function",
    "Mina Basirat, Peter M. Roth",
    2018,
    arxiv="1808.00783",
)
BISWAS_2021 = Reference(
    "ErfAct and Pserf: non-monotonic smooth trainable activation functions",
    "Koushik Biswas, Sandeep Kumar, Shilpak Banerjee, Ashish Kumar Pandey",
    2021,
    arxiv="2109.04386",
)
BLONDEL_2019 = Reference(
    "Learning with Fenchel-Young losses",
    "Mathieu Blondel, André F. T. Martins, Vlad Niculae",
    2019,
    arxiv="1901.02324",
)
ELFWING_2017 = Reference(
    "Sigmoid-weighted linear units for neural network function approximation in reinforcement learning",
    "Stefan Elfwing, Eiji Uchibe, Kenji Doya",
    2017,
    arxiv="1702.03118",
)
GOMES_2011 = Reference(
    "Comparison of new activation functions in neural network for forecasting financial time series",
    "Gecynalda S. da S. Gomes, Teresa B. Ludermir, Leyla M. M. R. Lima",
    2011,
    doi="10.1007/s00521-010-0407-3",
)
HAFNER_2023 = Reference(
    "Mastering diverse domains through world models",
    "Danijar Hafner, Jurgis Pasukonis, Jimmy Ba, Timothy Lillicrap",
    2023,
    arxiv="2301.04104",
)
HENDRYCKS_2016 = Reference(
    "Gaussian error linear units (GELUs)",
    "Dan Hendrycks, Kevin Gimpel",
    2016,
    arxiv="1606.08415",
)
HOWARD_2019 = Reference(
    "Searching for MobileNetV3",
    "Andrew Howard, Mark Sandler, Grace Chu, Liang-Chieh Chen, Bo Chen, Mingxing Tan, Weijun Wang, "
    "Yukun Zhu, Ruoming Pang, Vijay Vasudevan, Quoc V. Le, Hartwig Adam",
    2019,
    arxiv="1905.02244",
)
KRIZHEVSKY_2010 = Reference(
    "Convolutional deep belief networks on CIFAR-10",
    "Alex Krizhevsky",
    2010,
    url="https://www.cs.toronto.edu/~kriz/conv-cifar10-aug2010.pdf",
)
LECUN_1998 = Reference(
    "Efficient BackProp",
    "Yann LeCun, Léon Bottou, Genevieve B. Orr, Klaus-Robert Müller",
    1998,
    doi="10.1007/3-540-49430-8_2",
)
MA_2020 = Reference(
    "Activate or not: learning customized activation",
    "Ningning Ma, Xiangyu Zhang, Ming Liu, Jian Sun",
    2020,
    arxiv="2009.04759",
)
NAIR_2010 = Reference(
    "Rectified linear units improve restricted Boltzmann machines",
    "Vinod Nair, Geoffrey E. Hinton",
    2010,
    url="https://www.cs.toronto.edu/~fritz/absps/reluICML.pdf",
)
RAMACHANDRAN_2017 = Reference(
    "Searching for activation functions",
    "Prajit Ramachandran, Barret Zoph, Quoc V. Le",
    2017,
    arxiv="1710.05941",
)
