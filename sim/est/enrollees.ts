import { createHash, timingSafeEqual, type X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import { readCertificate } from '../pki/certificate.ts'
import { hasSigned, type PresentedChain } from '../pki/presented-chain.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import { type Pkcs10CertificateRequest, X509Certificate as ReadCertificate } from '../pki/x509.ts'

/** Who may enrol: JSON. */
export interface EnrolleesSnapshot {
  readonly users: Readonly<Record<string, string>>
  /** PEM. */
  readonly trusted: readonly string[]
  /** Thumbprints, SHA-256. */
  readonly revoked: readonly string[]
}

/** subjectAltName (RFC 5280, 4.2.1.6). */
const alternativeNames = '2.5.29.17'

/** Who may enrol at an EST server, by what they show. */
export class Enrollees {
  readonly #users = new Map<string, string>()
  readonly #trusted = new Map<string, X509Certificate>()
  readonly #revoked = new Set<string>()

  /** @throws RangeError for a name with a colon (RFC 7617, 2), or an empty one */
  addUser(name: string, password: string): void {
    if (name === '' || name.includes(':')) throw new RangeError(`"${name}" is no user name: it has a colon.`)
    this.#users.set(name, password)
  }

  trust(certificate: string): void {
    const authority = readCertificate(certificate, 'An authority of bootstrap certificates')
    this.#trusted.set(thumbprint256(authority), authority)
  }

  revoke(thumbprint: string): void {
    this.#revoked.add(thumbprint)
  }

  /**
   * A first enrolment: by a user's password, or by a certificate that was signed below an authority it trusts.
   *
   * @throws ServiceError 401, 403
   */
  admit(authorization: string | undefined, presented: PresentedChain, now: number): void {
    const isTrusted = [...this.#trusted.values()].some((authority) =>
      presented.findAuthority((subject) => hasSigned(authority, subject) || undefined, now),
    )
    if (isTrusted) return this.#requireUnrevoked(presented.leaf)
    const [, encoded] = /^Basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization ?? '') ?? []
    if (encoded === undefined)
      throw new ServiceError(401, 401000, 'Expected a user name and password, or a certificate.')
    const [, name = '', password = ''] =
      /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? []
    const known = this.#users.get(name)
    if (known === undefined || !isSame(password, known))
      throw new ServiceError(401, 401000, 'The user name or the password is wrong.')
  }

  /**
   * A renewal: by the certificate that is renewed, whose names the request has to have (RFC 7030, 4.2.2).
   *
   * @throws ServiceError 400, 403
   */
  admitAgain(
    request: Pkcs10CertificateRequest,
    presented: PresentedChain,
    authority: X509Certificate,
    now: number,
  ): void {
    const { leaf } = presented
    const isOwn = presented.findAuthority((subject) => hasSigned(authority, subject) || undefined, now)
    if (leaf === undefined || isOwn === undefined)
      throw new ServiceError(403, 403000, 'Expected the certificate that is to be renewed, which is valid.')
    this.#requireUnrevoked(leaf)
    const before = new ReadCertificate(leaf.raw)
    const isSameSubject = bytes(before.subjectName.toArrayBuffer()).equals(
      bytes(request.subjectName.toArrayBuffer()),
    )
    const [namesBefore, names] = [before, request].map((one) => one.getExtension(alternativeNames)?.value)
    if (!isSameSubject || !bytes(namesBefore).equals(bytes(names)))
      throw new ServiceError(
        400,
        400000,
        'Subject and subject alternative names are not those of the certificate.',
      )
  }

  snapshot(): EnrolleesSnapshot {
    return {
      users: Object.fromEntries(this.#users),
      trusted: [...this.#trusted.values()].map(String),
      revoked: [...this.#revoked],
    }
  }

  restore({ users, trusted, revoked }: EnrolleesSnapshot): void {
    this.#users.clear()
    for (const [name, password] of Object.entries(users)) this.#users.set(name, password)
    this.#trusted.clear()
    for (const certificate of trusted) this.trust(certificate)
    this.#revoked.clear()
    for (const thumbprint of revoked) this.#revoked.add(thumbprint)
  }

  #requireUnrevoked(leaf: X509Certificate | undefined): void {
    if (leaf !== undefined && this.#revoked.has(thumbprint256(leaf)))
      throw new ServiceError(403, 403000, 'The certificate is revoked.')
  }
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text) => createHash('sha256').update(text).digest())
  return a !== undefined && b !== undefined && timingSafeEqual(a, b)
}

function bytes(value: ArrayBuffer | undefined): Buffer {
  return Buffer.from(value ?? new ArrayBuffer(0))
}
