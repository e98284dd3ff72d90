import { webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from './x509.ts'
import { randomSerialNumber, validFor, type Validity } from './certificate-fields.ts'
import { generateKeyFile, readKeyFile, signingAlgorithm, type KeyFile, type KeyType } from './keys.ts'
import { issueLeaf, type IssuedLeaf, type LeafOrder } from './leaf.ts'

const mark = 'leafkeeper TEST'

/** What a new test authority is made of. */
export interface AuthorityOptions {
  /** `leafkeeper TEST` is put in front of it where it is missing. */
  readonly commonName: string
  /** Default `P-256`. */
  readonly keyType?: KeyType
  /** Default: from yesterday, for ten years. */
  readonly validity?: Validity
}

/** An authority with its private key, and those above it with theirs: JSON. */
export interface StoredAuthority {
  readonly keyType: KeyType
  /** PKCS#8, as PEM. */
  readonly privateKey: string
  /** As PEM. */
  readonly certificate: string
  readonly issuer?: StoredAuthority
}

/**
 * A certificate authority made on the spot, whose subject says that it is for tests. It signs intermediates and
 * leaves, wrong ones too when a test asks for them.
 *
 * @example
 * ```ts
 * const root = await TestAuthority.createRoot({ commonName: 'root 1' })
 * const factory = await root.createIntermediate({ commonName: 'factory 1' })
 * const leaf = await factory.issueLeaf({ csr: requestPem })
 * cloud.dps.groups.put({ enrollmentGroupId: 'factory', attestation: { primary: factory.certificate } })
 * ```
 */
export class TestAuthority {
  readonly #key: KeyFile
  readonly #certificate: X509Certificate
  readonly #issuer: TestAuthority | undefined

  private constructor(key: KeyFile, certificate: X509Certificate, issuer: TestAuthority | undefined) {
    this.#key = key
    this.#certificate = certificate
    this.#issuer = issuer
  }

  /** Makes a self-signed root. */
  static async createRoot(options: AuthorityOptions): Promise<TestAuthority> {
    return TestAuthority.#create(options, undefined)
  }

  /** Takes up an authority that was kept; it signs as before. */
  static async restore({
    keyType,
    privateKey,
    certificate,
    issuer,
  }: StoredAuthority): Promise<TestAuthority> {
    return new TestAuthority(
      await readKeyFile(keyType, privateKey),
      new X509Certificate(certificate),
      issuer === undefined ? undefined : await TestAuthority.restore(issuer),
    )
  }

  /** Everything that it takes to sign as this authority: keep it to yourself. */
  stored(): StoredAuthority {
    const { keyType, privateKeyPem } = this.#key
    return {
      keyType,
      privateKey: privateKeyPem,
      certificate: this.certificate,
      ...(this.#issuer === undefined ? {} : { issuer: this.#issuer.stored() }),
    }
  }

  /** Makes an intermediate under this authority. */
  async createIntermediate(options: AuthorityOptions): Promise<TestAuthority> {
    return TestAuthority.#create(options, this)
  }

  /** This authority's own certificate, as PEM. */
  get certificate(): string {
    return `${this.#certificate.toString('pem')}\n`
  }

  /** This authority's certificate and all those above it, the root last, as PEM. */
  get chain(): string {
    return this.certificate + (this.#issuer?.chain ?? '')
  }

  /** The subject, as in `CN=leafkeeper TEST root 1,O=leafkeeper TEST - do not trust`. */
  get subject(): string {
    return this.#certificate.subject
  }

  /**
   * Signs a leaf, from a PKCS#10 request or from a bare public key.
   *
   * @throws Error when the request is not signed with the key it holds, or when no common name is known
   */
  async issueLeaf(order: LeafOrder): Promise<IssuedLeaf> {
    const { keyType, privateKey } = this.#key
    return issueLeaf(order, {
      certificate: this.#certificate,
      keyType,
      privateKey,
      presented: this.#chainBelowRoot(),
    })
  }

  /** What devices present above their leaf: the other side has the root already. */
  #chainBelowRoot(): string {
    return this.#issuer === undefined ? '' : this.certificate + this.#issuer.#chainBelowRoot()
  }

  static async #create(options: AuthorityOptions, issuer: TestAuthority | undefined): Promise<TestAuthority> {
    const key = await generateKeyFile(options.keyType)
    const validity = options.validity ?? validFor(10 * 365)
    const name = options.commonName.startsWith(mark) ? options.commonName : `${mark} ${options.commonName}`
    const subject = [{ CN: [name] }, { O: [`${mark} - do not trust`] }]
    const signer = issuer === undefined ? key : issuer.#key
    const certificate = await X509CertificateGenerator.create(
      {
        serialNumber: randomSerialNumber(),
        subject,
        issuer: issuer === undefined ? subject : issuer.#certificate.subjectName.toJSON(),
        notBefore: validity.notBefore,
        notAfter: validity.notAfter,
        publicKey: key.publicKey,
        signingKey: signer.privateKey,
        signingAlgorithm: signingAlgorithm(signer.keyType),
        extensions: [
          new BasicConstraintsExtension(true, undefined, true),
          new KeyUsagesExtension(
            KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature,
            true,
          ),
          await SubjectKeyIdentifierExtension.create(key.publicKey, false, webcrypto),
          await AuthorityKeyIdentifierExtension.create(signer.publicKey, false, webcrypto),
        ],
      },
      webcrypto,
    )
    return new TestAuthority(key, certificate, issuer)
  }
}
