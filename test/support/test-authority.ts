import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import type { Pem } from '../../src/brands.ts'

type CryptoKey = webcrypto.CryptoKey
type CryptoKeyPair = webcrypto.CryptoKeyPair

const crypto = webcrypto
const day = 86_400_000
const signing = { name: 'ECDSA', hash: 'SHA-256' }

/** What a certificate of a test says; everything has a usual value. */
export interface LeafOptions {
  readonly commonName?: string
  readonly subject?: string | x509.Name
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly extensions?: readonly x509.Extension[]
}

/** The extensions of an ordinary TLS client certificate. */
export const clientExtensions: readonly x509.Extension[] = [
  new x509.BasicConstraintsExtension(false, undefined, true),
  new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
  new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
]

/** A small certificate authority, in memory. */
export class TestAuthority {
  readonly certificate: x509.X509Certificate
  /** This authority and those above it that a chain carries: the root stays out. */
  readonly #above: readonly x509.X509Certificate[]
  readonly #keys: CryptoKeyPair

  private constructor(
    certificate: x509.X509Certificate,
    keys: CryptoKeyPair,
    above: readonly x509.X509Certificate[],
  ) {
    this.certificate = certificate
    this.#keys = keys
    this.#above = above
  }

  static async root(name = 'Test Root', options: LeafOptions = {}): Promise<TestAuthority> {
    const keys = await newKeys()
    const certificate = await x509.X509CertificateGenerator.createSelfSigned(
      {
        name: `CN=${name}`,
        keys,
        signingAlgorithm: signing,
        serialNumber: randomBytes(8).toString('hex'),
        ...validity(options),
        extensions: authorityExtensions(),
      },
      crypto,
    )
    return new TestAuthority(certificate, keys, [])
  }

  /** PEM of this authority's own certificate. */
  get pem(): string {
    return this.certificate.toString('pem')
  }

  async intermediate(name: string, options: LeafOptions = {}): Promise<TestAuthority> {
    const keys = await newKeys()
    const extensions = options.extensions ?? authorityExtensions()
    const certificate = await this.#sign(keys.publicKey, { commonName: name, ...options, extensions })
    return new TestAuthority(certificate, keys, [certificate, ...this.#above])
  }

  /** Issues a leaf for a public key (DER of the SubjectPublicKeyInfo), with the intermediates behind it. */
  async issue(publicKey: Uint8Array, options: LeafOptions = {}): Promise<Pem> {
    const leaf = await this.#sign(new x509.PublicKey(Uint8Array.from(publicKey)), {
      extensions: clientExtensions,
      ...options,
    })
    return [leaf, ...this.#above].map((each) => `${each.toString('pem')}\n`).join('') as Pem
  }

  /** A server certificate for 127.0.0.1 and localhost with its key. */
  async server(): Promise<{ cert: string; key: string; ca: string }> {
    const keys = await newKeys()
    const cert = await this.#sign(keys.publicKey, {
      commonName: 'localhost',
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: 'dns', value: 'localhost' },
          { type: 'ip', value: '127.0.0.1' },
        ]),
      ],
    })
    const key = x509.PemConverter.encode(
      await crypto.subtle.exportKey('pkcs8', keys.privateKey),
      'PRIVATE KEY',
    )
    return { cert: cert.toString('pem'), key, ca: this.pem }
  }

  async #sign(
    publicKey: CryptoKey | x509.PublicKey,
    { commonName = 'device-1', subject = `CN=${commonName}`, extensions = [], ...options }: LeafOptions,
  ): Promise<x509.X509Certificate> {
    return await x509.X509CertificateGenerator.create(
      {
        subject,
        issuer: this.certificate.subject,
        publicKey,
        signingKey: this.#keys.privateKey,
        signingAlgorithm: signing,
        serialNumber: randomBytes(8).toString('hex'),
        ...validity(options),
        extensions: [...extensions],
      },
      crypto,
    )
  }
}

async function newKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
}

function validity({ notBefore, notAfter }: LeafOptions): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: notBefore ?? new Date(Date.now() - day),
    notAfter: notAfter ?? new Date(Date.now() + 30 * day),
  }
}

function authorityExtensions(): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  ]
}
