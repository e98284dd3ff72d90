import type { CertificateStore } from '../../certificates/certificate-store.ts'
import type { SimulatedCloud } from '../../cloud.ts'
import { hubName } from '../words.ts'

/** A service that keeps certificates of authorities. */
export interface CertificateOwner {
  /** Part of paths and ids. */
  readonly key: string
  readonly name: string
  readonly store: CertificateStore
}

/** DPS first, then the hubs. */
export function certificateOwners({ dps, hubs }: SimulatedCloud): readonly CertificateOwner[] {
  return [
    { key: 'dps', name: 'Device Provisioning Service', store: dps.certificates },
    ...hubs.map(({ hostName, certificates }) => ({
      key: `hub-${hubName(hostName)}`,
      name: `Hub ${hubName(hostName)}`,
      store: certificates,
    })),
  ]
}
