import { randomUUID, type X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'
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
   * Creates or replaces an entry.
   *
   * @throws ServiceError 400 when a certificate is missing or cannot be used, 409 when another entry has it
   */
  put(options: Kind): Stored<Kind> {
    const { idOf, now } = this.#rules
    const id = idOf(options)
    if (!/^[A-Za-z0-9\-._:]{0,127}[A-Za-z0-9-]$/.test(id)) {
      throw new ServiceError(
        400,
        400004,
        `"${id}" is no id: expected up to 128 letters, digits and -._: with a letter, digit or dash at the end.`,
      )
    }
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
      createdDateTimeUtc: this.get(id)?.createdDateTimeUtc ?? at,
      lastUpdatedDateTimeUtc: at,
    }
    this.#entries.set(id.toLowerCase(), { stored, certificates, thumbprints })
    return stored
  }

  get(id: string): Stored<Kind> | undefined {
    return this.entry(id)?.stored
  }

  /** @returns whether there was one */
  delete(id: string): boolean {
    return this.#entries.delete(id.toLowerCase())
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
