import { dpsIssuer } from '../../issuer/dps-issuer.ts'
import type { Issuer } from '../../issuer/issuer.ts'
import type { DpsOptions } from '../../provisioning/dps-options.ts'
import { LeafkeeperError } from '../../errors.ts'
import { members } from '../members.ts'
import { kind } from './kind.ts'

/** The certificate-signing request of DPS. */
export function dpsIssuerSection() {
  return members({
    kind: kind(
      'dps',
      'DPS, with a registration (preview); as `provisioning` says, which has to have `onboarding`.',
    ),
  })
}

/** @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the device has nothing to show but what DPS has issued */
export function dpsIssuerOf(dps: DpsOptions | undefined): Issuer {
  if (dps?.onboarding !== undefined) return dpsIssuer({ ...dps, onboarding: dps.onboarding })
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message:
      'Expected provisioning.onboarding, which an issuer of the kind dps registers with; it is missing.',
  })
}
