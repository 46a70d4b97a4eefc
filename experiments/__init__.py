"""Experiments on real text: trained models and a pretrained one."""
