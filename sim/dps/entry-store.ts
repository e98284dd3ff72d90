import { randomUUID, type X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import { requireMatch } from '../etag.ts'
import { readCertificate } from '../pki/certificate.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import {
  attestationCertificates,
  type EnrollmentGroup,
  type Entry,
  type IndividualEnrollment,
  type Stored,
} from './enrollment.ts'

type Options = IndividualEnrollment | EnrollmentGroup

/** How one kind of entry is kept. */
interface Rules<Kind extends Options> {
  readonly idOf: (entry: Kind) => string
  /** Told before an entry of the typed API is taken, for what its caller vouches. */
  readonly vouch?: (entry: Kind) => void
  /** Completes the attestation. @throws ServiceError 400 when it is none for this kind */
  readonly complete: (entry: Kind, before: Kind | undefined) => Kind
  /** How many entries there may be. */
  readonly quota: () => number
  /** Told about every certificate before it is taken. @throws Error when it is not fit for this kind */
  readonly check: (certificate: X509Certificate, what: string) => void
  /** Whether another kind of entry has the certificate already. */
  readonly takenElsewhere: (thumbprint: string) => string | undefined
  readonly now: () => number
}

/**
 * The entries of one kind, by id; ids are the same in either case. `put` replaces a whole entry, so leaving the
 * secondary certificate out removes it.
 *
 * @example
 * ```ts
 * cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: leaf.certificate } })
 * cloud.dps.groups.put({ enrollmentGroupId: 'factory', attestation: { primary: root.certificate } })
 * ```
 */
export class EntryStore<Kind extends Options> {
  readonly #entries = new Map<string, Entry<Kind>>()
  readonly #rules: Rules<Kind>

  constructor(rules: Rules<Kind>) {
    this.#rules = rules
  }

  /**
   * Creates or replaces an entry. Authorities in it are taken for verified.
   *
   * @throws ServiceError 400 when a certificate is missing or cannot be used, 409 when another entry has it
   */
  put(options: Kind): Stored<Kind> {
    this.#rules.vouch?.(options)
    return this.write(options)
  }

  /**
   * The same as the REST API does it.
   *
   * @param ifMatch - the ETag that the present entry must have, or `*`
   * @throws ServiceError 400, 409; 404 or 412 when the present entry is not the expected one; 403 over the quota
   */
  write(entry: Kind, ifMatch?: string): Stored<Kind> {
    const { idOf, now, complete, quota } = this.#rules
    const id = idOf(entry)
    if (!/^[A-Za-z0-9\-._:]{0,127}[A-Za-z0-9-]$/.test(id)) {
      throw new ServiceError(
        400,
        400004,
        `"${id}" is no id: expected up to 128 letters, digits and -._: with a letter, digit or dash at the end.`,
      )
    }
    const before = this.get(id)
    if (ifMatch !== undefined) requireMatch(`the entry "${id}"`, before, ifMatch)
    if (before === undefined && this.#entries.size >= quota()) {
      throw new ServiceError(403, 403200, `There can be no more than ${quota()} entries of this kind.`)
    }
    const options = complete(entry, before)
    const certificates = attestationCertificates(id, options.attestation, (pem, what) => {
      const certificate = readCertificate(pem, what)
      this.#rules.check(certificate, what)
      return certificate
    })
    const thumbprints = new Set(certificates.map(thumbprint256))
    for (const thumbprint of thumbprints) this.#refuseTaken(id, thumbprint)
    const at = new Date(now()).toISOString()
    const stored: Stored<Kind> = {
      ...options,
      provisioningStatus: options.provisioningStatus ?? 'enabled',
      reprovisionPolicy: options.reprovisionPolicy ?? { updateHubAssignment: true, migrateDeviceData: true },
      etag: Buffer.from(`"${randomUUID()}"`).toString('base64'),
      createdDateTimeUtc: before?.createdDateTimeUtc ?? at,
      lastUpdatedDateTimeUtc: at,
    }
    this.#entries.set(id.toLowerCase(), { stored, certificates, thumbprints })
    return stored
  }

  get(id: string): Stored<Kind> | undefined {
    return this.entry(id)?.stored
  }

  /** @returns whether there was one @throws ServiceError 412 when it has another ETag than this */
  delete(id: string, ifMatch = '*'): boolean {
    const before = this.get(id)
    if (before !== undefined) requireMatch(`the entry "${id}"`, before, ifMatch)
    return this.#entries.delete(id.toLowerCase())
  }

  /** Everything, as JSON. */
  snapshot(): readonly Stored<Kind>[] {
    return this.list()
  }

  /** Puts a snapshot in the place of everything. */
  restore(entries: readonly Stored<Kind>[]): void {
    this.#entries.clear()
    for (const stored of entries) {
      const id = this.#rules.idOf(stored)
      const certificates = attestationCertificates(id, stored.attestation, readCertificate)
      const thumbprints = new Set(certificates.map(thumbprint256))
      this.#entries.set(id.toLowerCase(), { stored, certificates, thumbprints })
    }
  }

  list(): readonly Stored<Kind>[] {
    return [...this.#entries.values()].map(({ stored }) => stored)
  }

  /** An entry with its certificates parsed. */
  entry(id: string): Entry<Kind> | undefined {
    return this.#entries.get(id.toLowerCase())
  }

  /** The first entry for which the predicate holds. */
  find(predicate: (entry: Entry<Kind>) => boolean): Entry<Kind> | undefined {
    for (const entry of this.#entries.values()) if (predicate(entry)) return entry
    return undefined
  }

  #refuseTaken(id: string, thumbprint: string): void {
    const { idOf, takenElsewhere } = this.#rules
    const other = this.find((entry) => entry.thumbprints.has(thumbprint) && !sameId(idOf(entry.stored), id))
    const owner = other === undefined ? takenElsewhere(thumbprint) : idOf(other.stored)
    if (owner !== undefined) {
      throw new ServiceError(
        409,
        409200,
        `The certificate ${thumbprint} is in the entry "${owner}" already; it can be in one entry only.`,
      )
    }
  }
}

function sameId(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}
