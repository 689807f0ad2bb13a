"""Data sets: a module each, listed here."""

from bitslice.lab.data.cifar10 import CIFAR10
from bitslice.lab.data.data_set import DataSet, Images, data_folder
from bitslice.lab.data.mnist import MNIST

DATA_SETS = {data_set.name: data_set for data_set in (MNIST, CIFAR10)}
"""Every data set by its name."""

__all__ = ["CIFAR10", "DATA_SETS", "MNIST", "DataSet", "Images", "data_folder"]
