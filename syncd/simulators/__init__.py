"""Simulated platforms: real HTTP servers on loopback that keep the truth and can be told to misbehave.

They share no code with `syncd.platforms`, so that a misreading of a platform's page cannot hide in both.
"""
