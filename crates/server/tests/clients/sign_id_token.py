"""An ID token with some claims, good from now for an hour, signed with the first of some private keys."""

import json
import sys
import time

from joserfc import jwt
from joserfc.jwk import import_key

given = json.loads(sys.argv[1])
jwk = given["jwks"]["keys"][0]
now = int(time.time())
claims = {"sub": "somebody", "iat": now, "exp": now + 3600, **given["claims"]}
token = jwt.encode({"alg": "RS256", "kid": jwk["kid"]}, claims, import_key(jwk))
print(json.dumps({"idToken": token}))
