#!/usr/bin/python3
"""Mutated enrollment messages, read by the core and in the backend's way.

    soap.py CORE SEED COUNT FILE ...

The backend reads XML as Go's encoding/xml does, in strict mode, into structs:
names are matched without their namespace, a second element of the same name
is decoded into the same struct, what follows the root element is not read.
Reader below does so, and shares no code with the core or its parser.

Whatever the core accepts, the backend must read as the same token of the same
kind, or refuse.  Prints figures, and every message of which that is not so.
"""

import base64
import random
import re
import subprocess
import sys

JWT = 'urn:ietf:params:oauth:token-type:jwt'
DEVICE = ('http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/'
          'Enrollment/DeviceEnrollmentUserToken')
NAMED = {'lt': '<', 'gt': '>', 'amp': '&', 'apos': "'", 'quot': '"'}
NAME = re.compile(r'[^\s<>/=\'"&;]+')


class Refused(Exception):
    """Go would return an error."""


class Reader:
    """The tokens of a document, as encoding/xml's Decoder gives them."""

    def __init__(self, data):
        try:
            self.text = data.decode('utf-8')
        except UnicodeDecodeError as error:
            raise Refused('not UTF-8') from error
        self.pos = 0

    def tokens(self):
        stack = []
        while self.pos < len(self.text):
            if self.text[self.pos] != '<':
                end = self.text.find('<', self.pos)
                end = len(self.text) if end < 0 else end
                raw = self.text[self.pos:end]
                self.pos = end
                if ']]>' in raw:
                    raise Refused(']]> in text')
                yield 'text', self.decode(raw)
            elif self.text.startswith('<!--', self.pos):
                body = self.until('<!--', '-->')
                if '--' in body or body.endswith('-'):
                    raise Refused('-- in a comment')
            elif self.text.startswith('<![CDATA[', self.pos):
                body = self.until('<![CDATA[', ']]>')
                self.check(body)
                yield 'text', newlines(body)
            elif self.text.startswith('<?', self.pos):
                self.instruction(self.until('<?', '?>'))
            elif self.text.startswith('<!', self.pos):
                self.directive()
            elif self.text.startswith('</', self.pos):
                name = self.until('</', '>').rstrip()
                if not stack or stack.pop() != name:
                    raise Refused('an end tag of another name')
                yield 'end', local(name)
            else:
                name, attributes, empty = self.start()
                yield 'start', local(name), attributes
                if empty:
                    yield 'end', local(name)
                else:
                    stack.append(name)
        raise Refused('unexpected EOF')

    def until(self, begin, end):
        start = self.pos + len(begin)
        stop = self.text.find(end, start)
        if stop < 0:
            raise Refused('unexpected EOF')
        self.pos = stop + len(end)
        return self.text[start:stop]

    def instruction(self, body):
        if not body.startswith('xml') or not body[3:4].isspace():
            return
        found = re.search(r'''version\s*=\s*("[^"]*"|'[^']*')''', body)
        if found and found[1][1:-1] != '1.0':
            raise Refused('another version')
        found = re.search(r'''encoding\s*=\s*("[^"]*"|'[^']*')''', body)
        if found and found[1][1:-1].lower() not in ('', 'utf-8'):
            raise Refused('another encoding')

    def directive(self):
        depth, quote, i = 0, '', self.pos + 2
        while i < len(self.text):
            c = self.text[i]
            if quote:
                quote = '' if c == quote else quote
            elif c in '"\'':
                quote = c
            elif c == '<':
                depth += 1
            elif c == '>':
                if not depth:
                    self.pos = i + 1
                    return
                depth -= 1
            i += 1
        raise Refused('unexpected EOF')

    def name(self):
        found = NAME.match(self.text, self.pos)
        if not found or found[0].count(':') > 1:
            raise Refused('no name')
        self.pos = found.end()
        return found[0]

    def blanks(self):
        start = self.pos
        while self.text[self.pos:self.pos + 1] in tuple(' \t\r\n'):
            self.pos += 1
        return self.pos > start

    def start(self):
        self.pos += 1
        name, attributes = self.name(), []
        while True:
            self.blanks()
            if self.text.startswith('/>', self.pos):
                self.pos += 2
                return name, attributes, True
            if self.text.startswith('>', self.pos):
                self.pos += 1
                return name, attributes, False
            key = self.name()
            self.blanks()
            if not self.text.startswith('=', self.pos):
                raise Refused('an attribute without a value')
            self.pos += 1
            self.blanks()
            quote = self.text[self.pos:self.pos + 1]
            if quote not in ('"', "'"):
                raise Refused('an unquoted value')
            value = self.until(quote, quote)
            if '<' in value:
                raise Refused('< in a value')
            attributes.append((local(key), self.decode(value)))

    def decode(self, raw):
        out, i = [], 0
        while True:
            j = raw.find('&', i)
            if j < 0:
                out.append(raw[i:])
                break
            out.append(raw[i:j])
            k = raw.find(';', j)
            if k < 0:
                raise Refused('an entity without an end')
            out.append(entity(raw[j + 1:k]))
            i = k + 1
        text = ''.join(out)
        self.check(text)
        return newlines(text)

    @staticmethod
    def check(text):
        for c in text:
            n = ord(c)
            if n in (9, 10, 13) or 0x20 <= n <= 0xd7ff \
                    or 0xe000 <= n <= 0xfffd or 0x10000 <= n:
                continue
            raise Refused('an illegal character')


def entity(name):
    if name in NAMED:
        return NAMED[name]
    found = re.fullmatch(r'#(?:x([0-9A-Fa-f]+)|([0-9]+))', name)
    if not found:
        raise Refused('an unknown entity')
    n = int(found[1], 16) if found[1] else int(found[2])
    if n > 0x10ffff or 0xd800 <= n <= 0xdfff:
        raise Refused('a character that there is not')
    return chr(n)


def newlines(text):
    return text.replace('\r\n', '\n').replace('\r', '\n')


def local(name):
    prefix, colon, rest = name.partition(':')
    return rest if colon and prefix and rest else name


def backend(data):
    """(kind, token) of Envelope/Header/Security/BinarySecurityToken."""
    path, wanted = [], ['Envelope', 'Header', 'Security', 'BinarySecurityToken']
    text, value_type, found = None, None, ''
    for token in Reader(data).tokens():
        if token[0] == 'start':
            path.append(token[1])
            if path == wanted[:1] or path[0] == 'Envelope':
                pass
            else:
                raise Refused('another root')
            if path == wanted:
                text = ''
                for key, value in token[2]:
                    if key == 'ValueType':
                        value_type = value
        elif token[0] == 'text':
            if path == wanted:
                text += token[1]
        else:
            if path == wanted:
                found = text
            path.pop()
            if not path:
                break               # Unmarshal reads no further
    if text is None:
        raise Refused('no token')
    bare = found.replace('\n', '').replace('\r', '')
    try:
        plain = base64.b64decode(bare, validate=True)
    except ValueError as error:
        raise Refused('not base64') from error
    return {JWT: 'jwt', DEVICE: 'device'}.get(value_type, 'other'), plain


# Mutations: of text, since the interesting ones are nearly XML.

PIECES = [
    '<!-- x -->', '<![CDATA[QUJD]]>', '<?pi x?>', '&amp;', '&#x41;', '&#65;',
    '\r\n', '\r', ' ', '\t', '\ufeff', '=', 'QUJD', '<x/>', '<x>', '</x>',
    '<wsse:BinarySecurityToken ValueType="' + JWT + '">YS5iLmM=</wsse:'
    'BinarySecurityToken>',
    '<BinarySecurityToken xmlns="" ValueType="' + DEVICE + '">e30=</'
    'BinarySecurityToken>',
    '<wsse:Security>', '</wsse:Security>', '<s:Header>', '</s:Header>',
    '<s:Header/>', '<Header xmlns=""/>', '<s:Body>', '</s:Body>',
    '</s:Envelope>', '<s:Envelope>', ' ValueType="' + JWT + '"',
    ' wsse:ValueType="' + DEVICE + '"', " x:ValueType='" + JWT + "'",
    ' xmlns:s="urn:other"', ' xmlns:wsse="urn:other"', ' xmlns=""',
    ' xmlns:ValueType="' + DEVICE + '"', '<!DOCTYPE x>', '<!x [ <y> ]>',
    '<?xml version="1.0" encoding="utf-16"?>', ']]>', '"', "'", '>', '<',
    '\u00a0', '\ud7ff', '\x01', ':', '/',
]


def mutate(text, dice):
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 5))):
        i = spot(text, dice)
        what = dice.randrange(7)
        if what == 0:
            text = text[:i] + dice.choice(PIECES) + text[i:]
        elif what == 1:
            text = text[:i] + text[i + dice.choice((1, 1, 2, 8, 40)):]
        elif what == 2:                       # an element, twice
            found = element(text, dice)
            if found:
                text = text[:found[1]] + text[found[0]:found[1]] \
                    + text[found[1]:]
        elif what == 3:                       # an element, elsewhere
            found = element(text, dice)
            if found:
                moved = text[found[0]:found[1]]
                rest = text[:found[0]] + text[found[1]:]
                j = spot(rest, dice)
                text = rest[:j] + moved + rest[j:]
        elif what == 4:                       # another prefix, or none
            name = dice.choice(('s:', 'wsse:', 'a:', 'u:'))
            text = text.replace(name, dice.choice(('', 'x:', 's:', 'wsse:')),
                                dice.choice((1, 2, -1)))
        elif what == 5:
            text = text[:i] + dice.choice(('\u0130', '\u212a', 'k', 'K', '0'))\
                + text[i + 1:]
        else:
            a, b = sorted((i, spot(text, dice)))
            if b - a < 400:
                text = text[:a] + text[b:]
    return text


def spot(text, dice):
    """Half of the time near what counts."""
    if dice.random() < 0.5:
        word = dice.choice(('BinarySecurityToken', 'ValueType', 'Security',
                            'Header', 'Envelope', 'Body', 'EncodingType'))
        places = [m.start() for m in re.finditer(word, text)]
        if places:
            near = dice.choice(places) + dice.randrange(-12, 30)
            return min(max(near, 0), len(text))
    return dice.randrange(len(text) + 1)


def element(text, dice):
    names = re.findall(r'<([\w:]+)[ >]', text)
    if not names:
        return None
    name = re.escape(dice.choice(names))
    found = re.search('<' + name + r'\b[^>]*>.*?</' + name + '>', text, re.S)
    return found.span() if found else None


def seed_of(name):
    """A message as it is kept, with a token in its place."""
    with open(name, encoding='utf-8', newline='') as file:
        text = file.read()
    jws = base64.b64encode(b'eyJhIjoxfQ.eyJiIjoyfQ.c2lnbmF0dXJl').decode()
    return text.replace('{{TOKEN}}', jws)


def main():
    core, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    seeds = [seed_of(name) for name in sys.argv[4:]]
    dice = random.Random(seed)
    messages = [s.encode() for s in seeds]
    while len(messages) < count:
        text = mutate(dice.choice(seeds), dice)
        messages.append(text.encode('utf-8', 'surrogatepass'))

    said = subprocess.run(
        [core, 'soap'], check=True, stdout=subprocess.PIPE,
        input=b''.join(len(m).to_bytes(4, 'big') + m for m in messages))
    lines = said.stdout.decode().splitlines()
    if len(lines) != len(messages):
        sys.exit('the core has said too little')

    accepted = both = different = 0
    for message, line in zip(messages, lines):
        if not line.startswith('accepted '):
            continue
        accepted += 1
        _, kind, token = line.split(' ')
        try:
            read = backend(message)
        except Refused:
            continue
        both += 1
        if read != (kind, bytes.fromhex(token)):
            different += 1
            print('DIFFERENT', read, line, message)

    print(f'messages={len(messages)} accepted={accepted} both={both} '
          f'different={different}')


if __name__ == '__main__':
    main()
