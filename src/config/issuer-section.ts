import * as v from 'valibot'
import { issuerByReason } from '../issuer/issuer-by-reason.ts'
import type { Issuer } from '../issuer/issuer.ts'
import { manualIssuer } from '../issuer/manual-issuer.ts'
import type { DpsOptions } from '../provisioning/dps-options.ts'
import type { NetworkOptions } from '../transport/network.ts'
import type { HsmSettings } from './hsm-section.ts'
import { commandIssuerOf, commandIssuerSection } from './issuers/command.ts'
import { dpsIssuerOf, dpsIssuerSection } from './issuers/dps.ts'
import { estIssuerOf, estIssuerSection } from './issuers/est.ts'
import { folderIssuerOf, folderIssuerSection } from './issuers/folder.ts'
import { hubIssuerOf, hubIssuerSection } from './issuers/hub.ts'
import { manualIssuerSection } from './issuers/manual.ts'
import { choice, has, members, required } from './members.ts'
import { pathMark, shown } from './values.ts'

/** Where certificates come from: one issuer for all of them, or one for the first and another for the rest. */
export function issuerSection(folder: string) {
  const kinds = [
    commandIssuerSection(folder),
    dpsIssuerSection(),
    estIssuerSection(folder),
    folderIssuerSection(folder),
    hubIssuerSection(),
    manualIssuerSection(),
  ] as const
  const one = v.variant('kind', kinds, ({ input, path }) =>
    path === undefined
      ? `Expected ${pathMark} to be an object with the member kind, got ${shown(input)}.`
      : `Expected ${pathMark} to be one of command, dps, est, folder, hub, manual, got ${shown(input)}.`,
  )
  const byReason = members({
    bootstrap: required(one, 'For the first certificate of a device.'),
    roll: required(one, 'For every certificate after that.'),
  })
  return choice<typeof one | typeof byReason>([...kinds, byReason], (value) =>
    !has(value, 'kind') && (has(value, 'bootstrap') || has(value, 'roll')) ? byReason : one,
  )
}

type IssuerSettings = v.InferOutput<ReturnType<typeof issuerSection>>
type OneIssuer = Extract<IssuerSettings, { readonly kind: string }>

/** What issuers need of the other sections. */
interface Surroundings {
  readonly dps: DpsOptions | undefined
  readonly hsm: HsmSettings
  readonly network: NetworkOptions
}

/** @throws LeafkeeperError `AGENT_CONFIG_INVALID` */
export async function issuerOf(settings: IssuerSettings, around: Surroundings): Promise<Issuer> {
  if ('kind' in settings) return oneIssuerOf('issuer', settings, around)
  return issuerByReason({
    bootstrap: await oneIssuerOf('issuer.bootstrap', settings.bootstrap, around),
    roll: await oneIssuerOf('issuer.roll', settings.roll, around),
  })
}

async function oneIssuerOf(path: string, settings: OneIssuer, around: Surroundings): Promise<Issuer> {
  switch (settings.kind) {
    case 'command':
      return commandIssuerOf(settings)
    case 'dps':
      return dpsIssuerOf(around.dps)
    case 'est':
      return estIssuerOf(path, settings, around)
    case 'folder':
      return folderIssuerOf(settings)
    case 'hub':
      return hubIssuerOf(settings)
    case 'manual':
      return manualIssuer()
  }
}
