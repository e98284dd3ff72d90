import type { DeviceRecord } from './device-record.ts'

/** A leaf that the service has issued. */
export interface IssuedLeaf {
  /** SHA-256. */
  readonly thumbprint: string
  /** The credential policy by which it was issued. */
  readonly policyName: string
}

/** A leaf that was issued to a device of the hub: JSON. */
export interface IssuedCertificate extends IssuedLeaf {
  readonly deviceId: string
  /** A device that is made again under the same name is another one. */
  readonly generationId: string
}

/** The leaves that were issued to one hub's devices, and by which it lets them in beside what their records say. */
export class IssuedCertificates {
  readonly #issued = new Map<string, IssuedCertificate[]>()

  add(issued: IssuedCertificate): void {
    this.#issued.set(issued.deviceId, [...(this.#issued.get(issued.deviceId) ?? []), issued])
  }

  /** Whether a leaf was issued to this very device. */
  has(record: DeviceRecord, thumbprint: string): boolean {
    return this.of(record).some((one) => one.thumbprint === thumbprint)
  }

  /** The policy by which this very device was issued its last certificate. */
  policyOf(record: DeviceRecord): string | undefined {
    return this.of(record).at(-1)?.policyName
  }

  /** Everything that this very device was issued. */
  of({ deviceId, generationId }: DeviceRecord): readonly IssuedCertificate[] {
    return (this.#issued.get(deviceId) ?? []).filter((one) => one.generationId === generationId)
  }

  /** Revokes everything a device was issued. @returns how many certificates */
  revoke(deviceId: string): number {
    const count = this.#issued.get(deviceId)?.length ?? 0
    this.#issued.delete(deviceId)
    return count
  }

  snapshot(): readonly IssuedCertificate[] {
    return [...this.#issued.values()].flat()
  }

  restore(snapshot: readonly IssuedCertificate[]): void {
    this.#issued.clear()
    for (const issued of snapshot) this.add(issued)
  }
}
