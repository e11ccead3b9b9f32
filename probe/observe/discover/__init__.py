"""What users are given: SRV records (RFC 6186, RFC 8314), Thunderbird's autoconfig, Autodiscover (POX and SOAP).

Each source is asked by itself and gives Answers; what is published is then tried, without credentials, by `verify`. Nothing here
says whether an answer is good: that is judge/discover.py.
"""
