// Azure SQL, with sign-in by Entra only: there is no password to keep.
param serverName string
param databaseName string
param location string
param tags object
@description('Who may make users and tables: an object id, a name and a kind (User, Group or Application).')
param administrator { id: string, name: string, kind: 'User' | 'Group' | 'Application' }
@description('The free offer: serverless, paused when nobody asks it anything.')
param freeOffer bool
@description('Without it: Basic holds 2 GB, the others 250 GB.')
param size 'Basic' | 'S0' | 'S1' | 'S2'
@description('What becomes of the free offer\'s database once its month is used up.')
param afterFreeOffer 'AutoPause' | 'BillOverUsage'

// Made once: a server takes its administrator here when it is made, and refuses another one later. So whatever else is
// said here is not changed on a server that is there.
@onlyIfNotExists()
resource server 'Microsoft.Sql/servers@2023-08-01' = {
  name: serverName
  location: location
  tags: tags
  properties: {
    version: '12.0'
    minimalTlsVersion: '1.2'
    publicNetworkAccess: 'Enabled'
    administrators: {
      administratorType: 'ActiveDirectory'
      azureADOnlyAuthentication: true
      principalType: administrator.kind
      login: administrator.name
      sid: administrator.id
      tenantId: tenant().tenantId
    }
  }
}

// These two it takes at any time: another administrator, and that there are no passwords.
resource administrators 'Microsoft.Sql/servers/administrators@2023-08-01' = {
  parent: server
  name: 'ActiveDirectory'
  properties: {
    administratorType: 'ActiveDirectory'
    login: administrator.name
    sid: administrator.id
    tenantId: tenant().tenantId
  }
}

resource entraOnly 'Microsoft.Sql/servers/azureADOnlyAuthentications@2023-08-01' = {
  parent: server
  name: 'Default'
  properties: { azureADOnlyAuthentication: true }
  dependsOn: [administrators]
}

// The app comes from any of Azure's addresses: without a network of its own it has none that stays.
resource fromAzure 'Microsoft.Sql/servers/firewallRules@2023-08-01' = {
  parent: server
  name: 'AllowAllWindowsAzureIps'
  properties: { startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }
}

resource database 'Microsoft.Sql/servers/databases@2023-08-01' = if (!freeOffer) {
  parent: server
  name: databaseName
  location: location
  tags: tags
  sku: { name: size, tier: size == 'Basic' ? 'Basic' : 'Standard' }
  properties: {
    maxSizeBytes: size == 'Basic' ? 2147483648 : 268435456000
    requestedBackupStorageRedundancy: 'Local'
  }
}

resource freeDatabase 'Microsoft.Sql/servers/databases@2023-08-01' = if (freeOffer) {
  parent: server
  name: databaseName
  location: location
  tags: tags
  sku: { name: 'GP_S_Gen5', tier: 'GeneralPurpose', family: 'Gen5', capacity: 2 }
  properties: {
    useFreeLimit: true
    freeLimitExhaustionBehavior: afterFreeOffer
    autoPauseDelay: 60
    minCapacity: json('0.5')
    maxSizeBytes: 34359738368
    requestedBackupStorageRedundancy: 'Local'
  }
}

output host string = server.properties.fullyQualifiedDomainName
