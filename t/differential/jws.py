#!/usr/bin/python3
"""Mutated tokens, verified by the core and by PyJWT.

    jws.py CORE SEED COUNT FOLDER

Makes keys and tokens, mutates the tokens, and hands them to both.  The core
must never accept what PyJWT refuses: a signature by the key that kid names,
RS256, over these very bytes.  (PyJWT is told not to look at claims, which are
not the matter here.)  Prints figures, and every token of which that is not so.

There is no exception to that.  The other way round there are, and they are
counted: the core also refuses what PyJWT lets pass, such as members that
stand twice, base64url with stray bits, or a nonce in the header.
"""

import base64
import json
import random
import subprocess
import sys

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

TENANT = '6d8769e6-0f8b-418d-b385-1a53968781c9'
ALPHABET = ('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
            '0123456789-_')


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def decoded(text):
    try:
        return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
    except ValueError:
        return b''


def number(n):
    return b64url(n.to_bytes((n.bit_length() + 7) // 8, 'big'))


class Key:
    def __init__(self, kid):
        self.kid = kid
        self.private = rsa.generate_private_key(65537, 2048)
        self.public = self.private.public_key()

    def jwk(self):
        numbers = self.public.public_numbers()
        return {'kty': 'RSA', 'use': 'sig', 'kid': self.kid,
                'n': number(numbers.n), 'e': number(numbers.e)}

    def pem(self):
        return self.public.public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, text, digest=hashes.SHA256()):
        return self.private.sign(text.encode(), padding.PKCS1v15(), digest)


def token(key, header=None, payload=None, digest=hashes.SHA256()):
    header = {'typ': 'JWT', 'alg': 'RS256', 'kid': key.kid} | (header or {})
    payload = {'aud': 'x', 'iss': f'https://sts.windows.net/{TENANT}/',
               'tid': TENANT, 'exp': 4000000000} | (payload or {})
    signed = '.'.join(b64url(json.dumps(part).encode())
                      for part in (header, payload))
    return signed + '.' + b64url(key.sign(signed, digest))


def seeds(keys):
    one, two = keys
    yield token(one)
    yield token(two)
    yield token(one, {'kid': two.kid})
    yield token(one, {'alg': 'RS512'}, digest=hashes.SHA512())
    yield token(one, {'alg': 'RS384'})
    yield token(one, {'alg': 'none'})
    yield token(one, {'crit': ['exp']})
    yield token(one, {'nonce': 'abc'})
    yield token(one, {'b64': False, 'crit': ['b64']})
    yield token(one, {'jwk': one.jwk(), 'kid': 'other'})
    yield token(one, payload={'groups': ['a'] * 40})
    for alg in ('HS256', 'none'):
        head = b64url(json.dumps({'alg': alg, 'kid': one.kid}).encode())
        yield head + '.' + b64url(b'{"tid":"x"}') + '.'


def mutate(text, pool, dice):
    if dice.random() < 0.15:
        return text
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        what, parts = dice.randrange(9), text.split('.')
        i = dice.randrange(len(text) + 1)
        if what == 0:
            text = text[:i] + dice.choice(ALPHABET) + text[i + 1:]
        elif what == 1:
            text = text[:i] + dice.choice(ALPHABET + '.=\n +/') + text[i:]
        elif what == 2:
            text = text[:i] + text[i + 1:]
        elif what == 3:                        # the part of another token
            other, n = dice.choice(pool).split('.'), dice.randrange(3)
            if len(parts) == 3 and len(other) == 3:
                parts[n] = other[n]
                text = '.'.join(parts)
        elif what == 4:                        # other spellings of the same
            text = text + dice.choice(('=', '==', '\n', '\r\n', '.', ' '))
        elif what == 5 and parts[-1]:          # stray bits at the end
            n = dice.randrange(len(parts))
            if parts[n]:
                parts[n] = parts[n][:-1] + dice.choice(ALPHABET)
                text = '.'.join(parts)
        elif what == 6:                        # a member twice, or more
            n = dice.randrange(min(2, len(parts)))
            raw = decoded(parts[n])
            more = dice.choice((b',"kid":"two"', b',"alg":"none"', b' ',
                                b',"alg":"RS256"', b',"x":"\\u0000"'))
            parts[n] = b64url(raw[:-1] + more + raw[-1:])
            text = '.'.join(parts)
        elif what == 7:
            text = text[:i] + text[i:].swapcase()
        else:                                  # a signature cut or padded
            sig = decoded(parts[-1])
            sig = dice.choice((sig[1:], sig[:-1], b'\0' + sig, sig + b'\0'))
            text = '.'.join(parts[:2] + [b64url(sig)])
    return text


def other(text, pems):
    """PyJWT's verdict."""
    try:
        header = jwt.get_unverified_header(text)
        pem = pems.get(header.get('kid'))
        if pem is None:
            return False
        jwt.decode(text, pem, algorithms=['RS256'], options={
            'verify_' + name: False
            for name in ('exp', 'nbf', 'iat', 'aud', 'iss')})
    except Exception:                          # whatever it stumbles over
        return False
    return True


def main():
    core, seed, count, folder = sys.argv[1], int(sys.argv[2]), \
        int(sys.argv[3]), sys.argv[4]
    keys = [Key('one'), Key('two')]
    pems = {key.kid: key.pem() for key in keys}
    jwks = folder + '/keys.json'
    with open(jwks, 'w', encoding='ascii') as file:
        json.dump({'keys': [key.jwk() for key in keys]}, file)

    dice = random.Random(seed)
    pool = list(seeds(keys))
    tokens = list(pool)
    while len(tokens) < count:
        tokens.append(mutate(dice.choice(pool), pool, dice))

    said = subprocess.run(
        [core, 'jws', jwks], check=True, stdout=subprocess.PIPE,
        input=b''.join(len(t.encode()).to_bytes(4, 'big') + t.encode()
                       for t in tokens))
    lines = said.stdout.decode().splitlines()
    if len(lines) != len(tokens):
        sys.exit('the core has said too little')

    accepted = stricter = different = 0
    for text, line in zip(tokens, lines):
        valid = other(text, pems)
        if line == 'accepted':
            accepted += 1
            if not valid:
                different += 1
                print('DIFFERENT', text)
        elif valid:
            stricter += 1

    print(f'tokens={len(tokens)} accepted={accepted} stricter={stricter} '
          f'different={different}')


if __name__ == '__main__':
    main()
