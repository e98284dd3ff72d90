import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parsePkcs11Uri, printPkcs11Uri, type Pkcs11Uri } from '../../src/hsm/pkcs11-uri.ts'

const text = fc.string({ unit: 'binary' })
const textNames = [
  'token',
  'manufacturer',
  'serial',
  'model',
  'library-manufacturer',
  'library-version',
  'library-description',
  'object',
  'type',
  'slot-description',
  'slot-manufacturer',
  'slot-id',
  'pin-source',
  'module-name',
  'module-path',
] as const

const uris: fc.Arbitrary<Pkcs11Uri> = fc.record(
  {
    ...(Object.fromEntries(textNames.map((name) => [name, text])) as Record<
      (typeof textNames)[number],
      fc.Arbitrary<string>
    >),
    id: fc.uint8Array({ maxLength: 40 }),
  },
  { requiredKeys: [] },
)

describe('what is printed', () => {
  test('is read back as it was', () => {
    fc.assert(
      fc.property(uris, (uri) => {
        expect(parsePkcs11Uri(printPkcs11Uri(uri))).toEqual(uri)
      }),
    )
  })

  test('has only characters that RFC 7512 allows, with every % followed by two hexadecimal digits', () => {
    fc.assert(
      fc.property(uris, (uri) => {
        expect(printPkcs11Uri(uri)).toMatch(
          /^pkcs11:(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=&;]|%[0-9A-F]{2})*(?:\?(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=/?|&]|%[0-9A-F]{2})*)?$/,
        )
      }),
    )
  })

  test('never holds a PIN', () => {
    const uri = parsePkcs11Uri('pkcs11:token=t?pin-value=hush')
    expect(uri['pin-value']?.reveal()).toBe('hush')
    expect(printPkcs11Uri(uri)).toBe('pkcs11:token=t')
    expect(JSON.stringify(uri)).not.toContain('hush')
  })

  test('percent-encodes the whole id', () => {
    expect(printPkcs11Uri({ object: 'leaf', id: Buffer.from('az'), type: 'private' })).toBe(
      'pkcs11:object=leaf;id=%61%7A;type=private',
    )
    expect(printPkcs11Uri({ token: 't', id: Buffer.of(0, 255) })).toBe('pkcs11:token=t;id=%00%FF')
  })
})

describe('the examples of RFC 7512, 3', () => {
  test.each<[string, Pkcs11Uri]>([
    ['pkcs11:', {}],
    ['pkcs11:object=my-pubkey;type=public', { object: 'my-pubkey', type: 'public' }],
    [
      'pkcs11:object=my-key;type=private?pin-source=file:/etc/token',
      { object: 'my-key', type: 'private', 'pin-source': 'file:/etc/token' },
    ],
    [
      'pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin',
      {
        token: 'The Software PKCS#11 Softtoken',
        manufacturer: 'Snake Oil, Inc.',
        model: '1.0',
        object: 'my-certificate',
        type: 'cert',
        id: Uint8Array.of(0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91),
        serial: '',
        'pin-source': 'file:/etc/token_pin',
      },
    ],
    [
      'pkcs11:object=my-sign-key;type=private?module-name=mypkcs11',
      { object: 'my-sign-key', type: 'private', 'module-name': 'mypkcs11' },
    ],
    [
      'pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1',
      { object: 'my-sign-key', type: 'private', 'module-path': '/mnt/libmypkcs11.so.1' },
    ],
    [
      'pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-source=|/usr/lib/pinomatic',
      {
        token: 'Software PKCS#11 softtoken',
        manufacturer: 'Snake Oil, Inc.',
        'pin-source': '|/usr/lib/pinomatic',
      },
    ],
    ['pkcs11:slot-id=327', { 'slot-id': '327' }],
    ['pkcs11:token=A%20name%20with%20a%20substring%20%25%3B', { token: 'A name with a substring %;' }],
    [
      'pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1',
      { token: 'Name with a small A with acute: á' },
    ],
    [
      'pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a?pin-source=file:/etc/token_pin&vendor-bbb=value-b',
      { token: 'my-token', object: 'my-certificate', type: 'cert', 'pin-source': 'file:/etc/token_pin' },
    ],
  ])('%s', (uri, expected) => {
    expect(parsePkcs11Uri(uri)).toEqual(expected)
  })
})

describe('HSM_URI_INVALID', () => {
  test.each([
    '',
    'pkcs11',
    'https://example.com',
    'pkcs11:token',
    'pkcs11:=x',
    'pkcs11:token=a;',
    'pkcs11:token=a;;object=b',
    'pkcs11:token=a;token=b',
    'pkcs11:token=a b',
    'pkcs11:token=a/b',
    'pkcs11:token=%',
    'pkcs11:token=%4',
    'pkcs11:token=%zz',
    'pkcs11:token=%FF',
    'pkcs11:to%6ben=a',
    'pkcs11:token=ä',
    'pkcs11:pin-value=1234',
    'pkcs11:object=a?token=b',
    'pkcs11:object=a?pin-source=x&pin-source=y',
    'pkcs11:object=a#fragment',
  ])('%j', (uri) => {
    expect(() => parsePkcs11Uri(uri)).toThrow(expect.objectContaining({ code: 'HSM_URI_INVALID' }))
  })

  test('does not repeat what may be a PIN', () => {
    expect(() => parsePkcs11Uri('pkcs11:token=a?pin-value=hush hush')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hush') as string }),
    )
  })
})

test('whatever is read, is either a URI or refused with its code', () => {
  fc.assert(
    fc.property(fc.string(), (rest) => {
      try {
        parsePkcs11Uri(`pkcs11:${rest}`)
      } catch (error) {
        expect(error).toMatchObject({ code: 'HSM_URI_INVALID' })
      }
    }),
  )
})

test('an ampersand is printed in a form that libp11 reads, and read in both', () => {
  const printed = printPkcs11Uri({ ...parsePkcs11Uri('pkcs11:token=R&D;type=private') })
  expect(printed).toBe('pkcs11:token=R%26D;type=private')
  expect(parsePkcs11Uri(printed)).toEqual(parsePkcs11Uri('pkcs11:token=R&D;type=private'))
})
