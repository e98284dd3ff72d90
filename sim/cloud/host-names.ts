/** The domain of IoT hubs. */
export const hubDomain = 'azure-devices.net'
/** The domain of provisioning services. */
export const dpsDomain = 'azure-devices-provisioning.net'
/** Where devices of every provisioning service register. */
export const provisioningHost = `global.${dpsDomain}`
/** The service API of the one provisioning service of a cloud. */
export const serviceHost = `leafkeeper.${dpsDomain}`
/** The EST server, which answers under its path at every other host name as well. */
export const estHost = 'est.leafkeeper.test'
/** Azure Resource Manager. */
export const managementHost = 'management.azure.com'

/** The host name of a hub that is given by its name or by its host name. */
export function hubHostName(hub: string): string {
  const name = hub.toLowerCase()
  return name.includes('.') ? name : `${name}.${hubDomain}`
}
