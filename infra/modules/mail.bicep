// Azure Communication Services, for EMAIL_PROVIDER acs: the service, and the domain that mails come from.
param name string
param tags object
@description('Where mails are kept at rest, such as Europe or Canada.')
param dataLocation string
@description('A domain of your own; empty: one that Azure makes, for trying things out (10 mails an hour).')
param domain string

resource service 'Microsoft.Communication/emailServices@2023-04-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: { dataLocation: dataLocation }
}

resource from 'Microsoft.Communication/emailServices/domains@2023-04-01' = {
  parent: service
  name: empty(domain) ? 'AzureManagedDomain' : domain
  location: 'global'
  tags: tags
  properties: {
    domainManagement: empty(domain) ? 'AzureManaged' : 'CustomerManaged'
    userEngagementTracking: 'Disabled'
  }
}

resource communication 'Microsoft.Communication/communicationServices@2023-04-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: {
    dataLocation: dataLocation
    // A domain of one's own can be linked only once its DNS records are verified: by hand, see docs/deployment.md.
    linkedDomains: empty(domain) ? [from.id] : null
  }
}

output endpoint string = 'https://${communication.properties.hostName}'
output senderDomain string = from.properties.mailFromSenderDomain
