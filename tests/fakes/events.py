"""The least that is a good event of each dialect."""

from __future__ import annotations

SAMSARA = {"timestamp": 1, "sourceId": "a", "eventName": "b.c"}

TRAINTRACKS = {
    "build": "1",
    "device": "d",
    "eventType": "e",
    "userId": "u",
    "userName": "n",
    "sessionId": "s",
    "clientTimestamp": "2012-03-14T02:33:42.416587+00:00",
    "data": {},
}
