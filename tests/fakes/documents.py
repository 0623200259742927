"""The examples of the two dialects' public documents, as they stand there.

From Samsara's page "Ingestion API & Events" (http://samsara-analytics.io, documentation)
and Traintracks' page "Sending events to Traintracks".
"""

from __future__ import annotations

SAMSARA_PLAIN = r"""
cat <<EOF | curl -i -H "Content-Type: application/json" \
                -H "X-Samsara-publishedTimestamp: $(date +%s999)" \
                -XPOST "http://localhost:9000/v1/events" -d @-
[
  {
    "timestamp": $(date +%s000),
    "sourceId": "3aw4sedrtcyvgbuhjkn",
    "eventName": "user.item.added",
    "page": "orders",
    "item": "sku-1234"
  }, {
    "timestamp": $(date +%s000),
    "sourceId": "3aw4sedrtcyvgbuhjkn",
    "eventName": "user.item.removed",
    "page": "orders",
    "item": "sku-5433",
    "action": "remove"
  }
]
EOF
"""
"""Under "/events": a plain JSON payload."""

SAMSARA_GZIP = r"""
cat <<EOF | gzip | curl -i -H "Content-Type: application/json" \
                        -H "X-Samsara-publishedTimestamp: $(date +%s999)" \
                        -H "Content-Encoding: gzip" \
                        -XPOST "http://localhost:9000/v1/events" \
                        --data-binary @-
[
  {
    "timestamp": $(date +%s000),
    "sourceId": "3aw4sedrtcyvgbuhjkn",
    "eventName": "user.item.added",
    "page": "orders",
    "item": "sku-1234"
  }, {
    "timestamp": $(date +%s000),
    "sourceId": "3aw4sedrtcyvgbuhjkn",
    "eventName": "user.item.removed",
    "page": "orders",
    "item": "sku-5433",
    "action": "remove"
  }
]
EOF
"""
"""Under "/events": a GZIP JSON payload."""

SAMSARA_GET_STATUS = r"""
curl -i -XGET "http://localhost:9000/v1/api-status"
"""
"""Under "/api-status": check the current status."""

SAMSARA_PUT_STATUS = r"""
curl -i -H "Content-Type: application/json" \
     -XPUT "http://localhost:9000/v1/api-status" \
     -d '{ "status": "offline" }'
"""
"""Under "/api-status": change the current status."""

TRAINTRACKS_BATCH = """\
[
  {
    "build": "1.1.1",
    "clientTimestamp": "2012-03-14T02:33:42.416587-07:00",
    "data": {
      "winner": {
        "name": "JaneDoe",
        "experiencePoints": "500",
        "weapon": "Ragnarok",
        "money": 2350
      },
      "loser": {
        "name": "Action888",
        "experiencePoints": "200",
        "weapon": "Buster Sword",
        "money": 1200
      },
      "battleTime": 52030
    },
    "device": "iPhone 5S",
    "eventType": "sword_battle",
    "userId": "3dc6b97d-7388-11e4-bfb3-b8e8563b3f9a",
    "userName": "JaneDoe",
    "sessionId": "fff324c6-30a2-11e3-ad80-485d60066bda",
    "location": {
      "lat": 37.871984,
      "lon": -122.259420
    }
  },
  {
    "build": "1.1.1",
    "clientTimestamp": "2012-03-14T02:43:43.416587-07:00",
    "data": {
      "user": {
        "experiencePoints": 500,
        "money": 2326
      },
      "item": {
        "name": "Excalibur",
        "cost": 24,
        "type": "sword"
      }
    },
    "device": "iPhone 5S",
    "eventType": "store_purchase",
    "userId": "3dc6b97d-7388-11e4-bfb3-b8e8563b3f9a",
    "userName": "JaneDoe",
    "sessionId": "fff324c6-30a2-11e3-ad80-485d60066bda",
    "location": {
      "lat": 37.871984,
      "lon": -122.259420
    }
  }
]
"""
"""Under "Example": a JSON array batch of 2 events."""

TRAINTRACKS_PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
"""The X-Product-Key that the text gives as an example."""
